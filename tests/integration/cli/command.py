"""Runs the `parley` command as a process of its own. Used by the integration tests of the command."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A guard against hanging, not a measurement.
_PATIENCE_S = 90.0
NOWHERE = "127.0.0.1:1"


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    exit_code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as one JSON value."""
        assert self.exit_code == 0, self
        return json.loads(self.out)

    def json_lines(self) -> list[dict[str, Any]]:
        """Standard output as a JSON object per line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def refuses(self, exit_code: int, *words: str) -> bool:
        """Whether it ended with that code and one line on standard error that has all these words."""
        assert self.exit_code == exit_code, self
        assert self.out == "", self
        assert self.err.startswith("parley: "), self
        assert len(self.err.splitlines()) == 1, self
        missing = [word for word in words if word not in self.err]
        assert not missing, (missing, self.err)
        return True


Run = Callable[..., Awaitable[Finished]]


def command_environment(gateway: str, home: Path) -> dict[str, str]:
    """This process's environment with nothing of Parley but the gateway."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    return inherited | {
        "PARLEY_GATEWAY": gateway,
        "PARLEY_HOME": str(home),
        "LC_ALL": "C.UTF-8",
    }


def runner(gateway: str, folder: Path) -> Run:
    """`await run("chat", "hello")` in that folder; stdin: bytes, environment: variables on top."""

    async def run(
        *arguments: object, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> Finished:
        return await run_process(
            [sys.executable, "-m", "parley_cli", *map(str, arguments)],
            command_environment(gateway, folder) | dict(environment or {}),
            folder,
            stdin,
        )

    return run


async def run_process(
    command: list[str], environment: Mapping[str, str], folder: Path, stdin: bytes = b""
) -> Finished:
    """Any command to its end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_PATIENCE_S):
            out, err = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())
