"""Clients that know nothing of our Python: buf by reflection, Node with the protos alone."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from support.person import SPEECH
from support.scripted_stack import ANSWER, HEARD
from support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")
ROOT = Path(__file__).parents[3]
BUF = Path(sys.executable).with_name("buf")
_PATIENCE_S = 60.0


async def test_buf_curl_holds_a_conversation_by_reflection(scripted: Stack) -> None:
    process = await asyncio.create_subprocess_exec(
        BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "-d", "@-",
        f"http://{scripted.gateway}/parley.gateway.v1.ConversationService/Converse",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"config": {}} {"text": "hello"}')
    await process.stdin.drain()
    printed = ""
    async with asyncio.timeout(_PATIENCE_S):
        while "heardText" not in printed:
            line = await process.stdout.readline()
            assert line, printed
            printed += line.decode()
    process.stdin.write(b'{"endConversation": {}}')
    process.stdin.close()
    await process.communicate()
    assert "".join(ANSWER) in printed
    assert process.returncode == 0


@pytest.mark.skipif(
    shutil.which("npm") is None or shutil.which("node") is None,
    reason="Node and npm are not installed here, and the example in examples/node needs them",
)
async def test_the_node_example_holds_a_conversation(scripted: Stack, tmp_path: Path) -> None:
    example = tmp_path / "node"
    shutil.copytree(ROOT / "examples" / "node", example, ignore=shutil.ignore_patterns("node_modules"))
    await _run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"], example, {})
    environment = {"PARLEY_GATEWAY": scripted.gateway, "PARLEY_PROTOS": str(ROOT / "protos")}
    typed = await _run(["node", "talk.mjs", "hello"], example, environment)
    assert "".join(ANSWER) in typed
    spoken = await _run(["node", "talk.mjs", "--wav", str(SPEECH / "question.wav")], example, environment)
    assert f"you ▸ {HEARD}" in spoken
    assert "REPLY_OUTCOME_COMPLETED" in spoken
    assert (example / "reply.pcm").stat().st_size > 24_000


async def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_PATIENCE_S * 3):
        out, err = await process.communicate()
    assert process.returncode == 0, json.dumps([out.decode(), err.decode()])
    return out.decode()
