"""A scripted asr process for each module, and clients to it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from integration.asr.calls import Client

from support.processes import StartedProcess, started_process

SCRIPT: dict[str, Any] = {"utterances": [{"text": "what is the time"}, {"text": "thank you"}]}


def scripted_env(folder: Path, script: dict[str, Any], **settings: str) -> dict[str, str]:
    """The environment of an asr process that hears `script`; settings without their prefix."""
    file = folder / "script.json"
    file.write_text(json.dumps(script), encoding="utf-8")
    own = {"ENGINE": "scripted", "SCRIPT_FILE": str(file), **settings}
    return {f"PARLEY_ASR_{name}": value for name, value in own.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripted_process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StartedProcess]:
    env = scripted_env(tmp_path_factory.mktemp("scripted"), SCRIPT)
    async with started_process("parley_asr", env) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module")
async def client(scripted_process: StartedProcess) -> AsyncIterator[Client]:
    opened = Client(scripted_process.grpc_address)
    yield opened
    await opened.close()
