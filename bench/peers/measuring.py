"""Runs a plan against sessions of any library in this process and tells what it saw as JSON lines on stdout.

Called by the three entry points `plain_process`, `pipecat_process` and `livekit_process`, each in its own environment.
Lines: {"kind": "ready", "versions": {...}}, {"kind": "turns", "overheads_ms": [...], "lost_turn_count": 0},
{"kind": "step", ...fields of record.Step}, {"kind": "done"}.
"""

import asyncio
import gc
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict

from bench.peers.record import SessionRecord, Step, is_overloaded, nearest_rank
from bench.peers.workload import FRAME_MS, Plan, Workload, plan_from_json

Send = Callable[[bytes], Awaitable[None]]
OpenSession = Callable[[SessionRecord], AbstractAsyncContextManager[Send]]
"""A session of the library: while it is open, `send` takes a person's frames; the record is filled meanwhile."""

_SETTLE_S = 1.0
_START_DELAY_S = 0.2


def tell(kind: str, **fields: object) -> None:
    """One line for whoever started this process."""
    sys.stdout.write(json.dumps({"kind": kind, **fields}) + "\n")
    sys.stdout.flush()


async def carry_out(plan: Plan, open_session: OpenSession) -> None:
    """The whole plan: the single session's turns, then one step after the other until two in a row are late."""
    await _single(plan, open_session)
    chance = random.Random(plan.seed)
    records: list[SessionRecord] = []
    steps: list[Step] = []
    async with AsyncExitStack() as people:
        for session_count in plan.steps:
            while len(records) < session_count:
                delay_s = _START_DELAY_S + chance.random() * plan.workload.cycle_ms / 1000
                records.append(
                    await people.enter_async_context(_person(plan.workload, open_session, delay_s))
                )
            await asyncio.sleep(plan.workload.cycle_ms / 1000 + _SETTLE_S)
            steps.append(await _step(records, plan))
            tell("step", **asdict(steps[-1]))
            if is_overloaded(steps):
                break


async def _single(plan: Plan, open_session: OpenSession) -> None:
    turn_count = plan.turn_count + 1
    async with _person(plan.workload, open_session, _START_DELAY_S) as record:
        # The last reply is over before the next cycle's speech begins.
        await asyncio.sleep(_START_DELAY_S + turn_count * plan.workload.cycle_ms / 1000)
        lost_turn_count = turn_count - len(record.overheads_ms)
        tell("turns", overheads_ms=record.overheads_ms[1:], lost_turn_count=lost_turn_count)


async def _step(records: list[SessionRecord], plan: Plan) -> Step:
    for record in records:
        record.forget()
    began_at, cpu_before = time.monotonic(), time.process_time()
    await asyncio.sleep(plan.step_s)
    wall_s, cpu_s = time.monotonic() - began_at, time.process_time() - cpu_before
    sent_late_ms = [late for record in records for late in record.sent_late_ms]
    overheads_ms = [overhead for record in records for overhead in record.overheads_ms]
    cpu_us_per_frame = cpu_s * 1e6 / max(1, len(sent_late_ms))
    return Step(
        session_count=len(records),
        reply_late_p99_ms=nearest_rank([late for record in records for late in record.reply_late_ms], 0.99),
        sent_late_p99_ms=nearest_rank(sent_late_ms, 0.99),
        overhead_p50_ms=nearest_rank(overheads_ms, 0.5),
        overhead_p95_ms=nearest_rank(overheads_ms, 0.95),
        cpu_us_per_frame=cpu_us_per_frame,
        all_cpu_us_per_frame=cpu_us_per_frame,
        cpu_s_per_session_s=cpu_s / wall_s / len(records),
        turn_count=len(overheads_ms),
        lost_turn_count=sum(record.lost_turn_count for record in records),
    )


@asynccontextmanager
async def _person(
    workload: Workload, open_session: OpenSession, delay_s: float
) -> AsyncIterator[SessionRecord]:
    """Somebody who sends a frame every 20 ms, from `delay_s` from now until the context ends."""
    record = SessionRecord(workload)
    async with open_session(record) as send:
        record.start_at = time.monotonic() + delay_s
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(_speak(record, send), name="bench.person")
            try:
                yield record
            finally:
                speaking.cancel()


async def _speak(record: SessionRecord, send: Send) -> None:
    index = 0
    while True:
        due_at = record.start_at + index * FRAME_MS / 1000
        # Never more than one frame behind without yielding: a late loop catches up frame by frame.
        await asyncio.sleep(max(0.0, due_at - time.monotonic()))
        await send(record.workload.frame(index))
        index += 1


def python_version() -> dict[str, str]:
    """Of this process, as an entry of `versions`."""
    return {"Python": sys.version.split()[0]}


def main(library: Callable[[Plan], OpenSession], versions: dict[str, str]) -> None:
    """The entry point: the plan is the only argument, one line of JSON. Tuned: on uvloop, with a quiet collector."""
    plan = plan_from_json(sys.argv[1])
    if plan.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {plan.core})
    if plan.has_tuned_settings:
        # No library documents it, yet whoever runs one for long does it: what was imported is not collected again.
        gc.collect()
        gc.freeze()
    tell("ready", versions=versions)
    with asyncio.Runner(loop_factory=_loop_factory(plan)) as runner:
        runner.run(carry_out(plan, library(plan)))
    tell("done")


def _loop_factory(plan: Plan) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if not plan.has_tuned_settings:
        return None
    import uvloop  # noqa: PLC0415 - only the tuned run needs it

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
