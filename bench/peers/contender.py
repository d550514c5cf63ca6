"""`measure_peer`: one round of a library in its own process. `Round` is what every contender comes to.

The library lives in an environment of its own (`install`), whose packages never enter the product's lock, and tells
what it measured as JSON lines; see `measuring`.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.child import stop
from bench.peers.record import Step
from bench.peers.workload import Plan

_ROOT = Path(__file__).parents[2]
_LINE_MAX_BYTES = 1 << 20
_START_S = 120.0
_STEP_GRACE_S = 60.0
_TOLD_STDERR_CHARS = 2000


class PeerFailedError(Exception):
    """A library's process ended early, told nonsense or took far too long; its last words are in the message."""


@dataclass
class Round:
    """One contender in one round: overheads of the single session's turns, then the steps it was given."""

    overheads_ms: list[float] = field(default_factory=list)
    lost_turn_count: int = 0
    steps: list[Step] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def take(self, told: dict[str, Any]) -> bool:
        """A line of the process; whether it was the last. KeyError, TypeError or ValueError for what is none."""
        kind = told.pop("kind")
        if kind == "ready":
            self.versions = dict(told["versions"])
        elif kind == "turns":
            self.overheads_ms = [float(value) for value in told["overheads_ms"]]
            self.lost_turn_count = int(told["lost_turn_count"])
        elif kind == "step":
            self.steps.append(Step(**told))
        elif kind != "done":
            raise ValueError(f"nobody knows a line of the kind {kind!r}")
        return bool(kind == "done")


async def measure_peer(python: Path, module: str, plan: Plan, folder: Path) -> Round:
    """Run `module` (of bench.peers) with an interpreter of its environment. Raises PeerFailedError.

    folder: for its log.
    """
    log_file = folder / f"{module}.log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            python, "-m", f"bench.peers.{module}", plan.to_json(),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
            cwd=_ROOT, env=_environment(), limit=_LINE_MAX_BYTES,
        )  # fmt: skip
        try:
            return await _listened(process, plan)
        except (TimeoutError, ValueError, KeyError, TypeError, EOFError) as error:
            last_words = log_file.read_text(errors="replace")[-_TOLD_STDERR_CHARS:]
            raise PeerFailedError(
                f"{module} failed ({type(error).__name__}: {error})\n{last_words}"
            ) from error
        finally:
            await stop(process)


async def _listened(process: asyncio.subprocess.Process, plan: Plan) -> Round:
    seen = Round()
    turns_s = (plan.turn_count + 1) * plan.workload.cycle_ms / 1000
    steps_s = len(plan.steps) * (plan.step_s + plan.workload.cycle_ms / 1000)
    async with asyncio.timeout(_START_S + turns_s + steps_s + _STEP_GRACE_S):
        async for line in _lines(process):
            told = json.loads(line)
            if not isinstance(told, dict):
                raise ValueError("a line is no object")
            if seen.take(told):
                return seen
    raise EOFError(f"it ended with exit code {await process.wait()}")


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[bytes]:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        yield line


def _environment() -> dict[str, str]:
    """Ours without what would lead its interpreter to our packages, or its library to a collector of spans."""
    left_out = ("PYTHON", "OTEL_", "PARLEY_", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}
