"""Two gateways behind one name, ten live conversations, one gateway is stopped: what is lost is counted."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.models.containers import Container

from support.compose_stack import ComposeStack
from support.container_engine import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONVERSATION_COUNT = 10
# A gateway wants a state folder for itself; the client runs beside them, because only there is the one name.
MORE = f"""
services:
  second:
    extends: {{file: {ROOT}/compose.embedded.yaml, service: gateway}}
    env_file: !reset []
    ports: !reset []
    volumes: !override ["second:/data"]
    networks: !override {{default: {{aliases: [gateway]}}, state: {{}}}}
  conversations:
    image: parley-gateway
    entrypoint: ["python", "/test/ten_conversations.py", "dns:///gateway:50050"]
    volumes:
      - {ROOT}/tests/support/ten_conversations.py:/test/ten_conversations.py:ro
      - {ROOT}/clients/python/src/parley_client:/test/parley_client:ro
volumes:
  second: {{}}
"""


@pytest.fixture
def two_gateways(stack: ComposeStack, tmp_path: Path) -> Iterator[Path]:
    """A second gateway under the name of the first; the file that describes it."""
    more = tmp_path / "more.yaml"
    more.write_text(MORE)
    stack.compose("up", "--wait", "--no-build")  # a test before this one may have stopped everything
    stack.compose("--file", str(more), "up", "--wait", "--no-build", "second")
    yield more
    stack.compose("--file", str(more), "rm", "--stop", "--force", "--volumes", "second", "conversations")
    stack.engine.volumes.get(f"{stack.project}_second").remove()


async def test_no_turn_is_lost_when_one_of_two_gateways_is_stopped(
    stack: ComposeStack, two_gateways: Path
) -> None:
    stack.compose("--file", str(two_gateways), "up", "--detach", "--no-build", "conversations")
    containers = stack.containers()
    async with asyncio.timeout(120):
        while "live" not in stack.logs("conversations"):
            assert running(containers["conversations"]), stack.logs("conversations")
            await asyncio.sleep(0.1)
        await asyncio.to_thread(containers["second"].stop, timeout=70)
        while running(containers["conversations"]):
            await asyncio.sleep(0.1)
    told = json.loads(stack.logs("conversations").strip().splitlines()[-1])
    print(*told, sep="\n")
    left = [each for each in told if each["was_asked_to_leave"]]
    assert 0 < len(left) < CONVERSATION_COUNT, "both gateways had conversations"
    assert [each["outcomes"] for each in told] == [["COMPLETED", "COMPLETED"]] * CONVERSATION_COUNT
    assert all(len(each["stored"]) == len(each["outcomes"]) for each in told)
    containers["second"].reload()
    assert containers["second"].attrs["State"]["ExitCode"] == 0


def running(container: Container) -> bool:
    container.reload()
    return str(container.status) == "running"
