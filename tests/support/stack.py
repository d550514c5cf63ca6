"""Starts the whole product as a user does, `parley up`, on free ports and in folders of its own. For e2e tests."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

_READY_S = 180.0
_STOP_S = 40.0


@dataclass
class Stack:
    """A running `parley up`."""

    gateway: str
    metrics: dict[str, str]
    home: Path
    pids: dict[str, int]
    ready_counts: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def kill(self, name: str) -> None:
        """kill -9 of one process; returns when the supervisor has a new one ready."""
        await self.wait_restarted(name, self.kill_at_once(name))

    def kill_at_once(self, name: str) -> int:
        """kill -9 of one process; what it returns is for `wait_restarted`."""
        os.kill(self.pids[name], signal.SIGKILL)
        return self.ready_counts[name]

    async def wait_restarted(self, name: str, killed: int) -> None:
        """Return when the supervisor has a new process ready in place of the one that was killed."""
        async with asyncio.timeout(_READY_S), self.changed:
            await self.changed.wait_for(lambda: self.ready_counts[name] > killed)

    def logs(self, name: str) -> str:
        """What a process wrote to its log."""
        return (self.home / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace")


@asynccontextmanager
async def running_stack(home: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Stack]:
    """All four ready; ended by SIGINT, as Ctrl-C does. The state lies in `home` and survives for the next one."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    own = {"PARLEY_HOME": str(home), "PARLEY_GATEWAY_STATE_FOLDER": str(home / "state")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "parley_cli", "up", "--any-port", "--json",
        env=inherited | own | dict(environment or {}), stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        stack = await _ready_stack(process, home)
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(_follow(process, stack), name="stack.follow")
            yield stack
            following.cancel()
    except BaseException:
        _print_logs(home)
        raise
    finally:
        await _stop(process)


async def _ready_stack(process: asyncio.subprocess.Process, home: Path) -> Stack:
    assert process.stdout is not None
    stack = Stack("", {}, home, {})
    async with asyncio.timeout(_READY_S):
        async for line in process.stdout:
            event = json.loads(line)
            _take(event, stack)
            if "addresses" in event:
                stack.gateway, stack.metrics = event["addresses"]["gateway"], event["metrics"]
                return stack
    raise AssertionError(f"parley up ended with {await process.wait()} before it was ready")


async def _follow(process: asyncio.subprocess.Process, stack: Stack) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        async with stack.changed:
            _take(json.loads(line), stack)
            stack.changed.notify_all()


def _take(event: dict[str, object], stack: Stack) -> None:
    if event["event"] == "ready" and "process" in event:
        name = str(event["process"])
        stack.pids[name] = int(str(event["pid"]))
        stack.ready_counts[name] = stack.ready_counts.get(name, 0) + 1


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise


def _print_logs(home: Path) -> None:
    for log in sorted((home / "logs").glob("*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")
