"""Starts `trivial_process.py` as a child and talks to it over loopback."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import structlog

from parley_servicekit.grpc_client import open_channel

# A guard against hanging, not a measurement: everything here takes milliseconds.
PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@dataclass
class Child:
    """A running process, with the log lines it has written so far."""

    process: asyncio.subprocess.Process
    log: list[dict[str, Any]] = field(default_factory=list)

    async def logged(self, event: str) -> dict[str, Any]:
        """Read the log up to the next `event`."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == event:
                return self.log[-1]
        raise AssertionError(f"ended without {event}: {self.log}")

    async def ready_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        told: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return told

    async def exit_code(self) -> int:
        assert self.process.stderr is not None
        rest = await self.process.stderr.read()
        self.log += [json.loads(line) for line in rest.splitlines()]
        return await self.process.wait()


StartChild = Callable[..., AbstractAsyncContextManager[Child]]


@asynccontextmanager
async def _start_child(**settings: str) -> AsyncIterator[Child]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    environ |= {"PARLEY_ASR_READY_LINE": "true"} | {
        f"PARLEY_ASR_{key.upper()}": value for key, value in settings.items()
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("trivial_process.py")),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def start_child() -> StartChild:
    return _start_child


@asynccontextmanager
async def channel_to(address: str) -> AsyncIterator[grpc.aio.Channel]:
    channel = open_channel(address)
    try:
        yield channel
    finally:
        await channel.close()


@pytest.fixture
def connect() -> Callable[[str], AbstractAsyncContextManager[grpc.aio.Channel]]:
    return channel_to
