"""`measure_ours`: one round of Parley in the contest: four processes, real gRPC hops, people in a process of their own.

The gateway stays on the core that a library's process is given; engines, services and people have the others.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from bench.load import run_load, running_load
from bench.peers import contest
from bench.peers.contender import Round
from bench.peers.record import Step, is_overloaded, nearest_rank
from bench.scenario import Bench
from bench.stack import Stack, Usage, running_stack
from bench.turns import measured_turns, planned_turn_count

# Cycles of a step: all have opened within the first; the last is when they leave.
_UNMEASURED_CYCLES = 2


async def measure_ours(bench: Bench, folder: Path) -> Round:
    """The single session's turns, then the steps until two in a row are late."""
    plan = contest.peer_plan(bench.seed, bench.is_short, None)
    core, others = contest.first_core(), contest.other_cores()
    pinned = {"gateway": {core}} if core is not None and others else {}
    if others:
        pinned |= {name: others for name in ("asr", "llm", "tts")}
    alone = contest.our_load(bench.seed, 1, plan.turn_count + 1)
    scripts = contest.our_scripts(contest.our_load(bench.seed, 1, contest.SCRIPTED_TURN_COUNT).turns)
    seen = Round(versions={"parley": "this commit"})
    async with running_stack(folder, scripts, pinned=pinned) as stack:
        records = await run_load(folder, stack.gateway, alone, cpus=others)
        seen.overheads_ms = [each.overhead_ms for each in measured_turns(alone, records)][1:]
        seen.lost_turn_count = plan.turn_count - len(seen.overheads_ms)
        for session_count in contest.our_steps(bench.is_short):
            seen.steps.append(await _step(bench, folder, stack, session_count, plan.step_s, others))
            if is_overloaded(seen.steps):
                break
    return seen


async def _step(
    bench: Bench, folder: Path, stack: Stack, session_count: int, step_s: float, cpus: set[int] | None
) -> Step:
    measured_cycles = -(-step_s * 1000 // contest.CYCLE_MS)
    load = contest.our_load(bench.seed, session_count, int(measured_cycles) + _UNMEASURED_CYCLES)
    async with running_load(folder, stack.gateway, load, cpus=cpus) as people:
        await people.settled()
        before, began_at = stack.usage(), time.monotonic()
        await asyncio.sleep(step_s)
        after, wall_s = stack.usage(), time.monotonic() - began_at
        records = await people.records()
    overheads_ms = [each.overhead_ms for each in measured_turns(load, records)]
    frame_count = contest.frames_in(wall_s, session_count)
    spent_s = _spent_s(before, after)
    return Step(
        session_count=session_count,
        reply_late_p99_ms=nearest_rank([late for each in records for late in each.frame_lateness_ms], 0.99),
        sent_late_p99_ms=nearest_rank([late for each in records for late in each.send_lateness_ms], 0.99),
        overhead_p50_ms=nearest_rank(overheads_ms, 0.5),
        overhead_p95_ms=nearest_rank(overheads_ms, 0.95),
        cpu_us_per_frame=spent_s["gateway"] * 1e6 / frame_count,
        all_cpu_us_per_frame=sum(spent_s.values()) * 1e6 / frame_count,
        cpu_s_per_session_s=spent_s["gateway"] / wall_s / session_count,
        turn_count=planned_turn_count(load),
        lost_turn_count=planned_turn_count(load) - len(overheads_ms),
    )


def _spent_s(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> dict[str, float]:
    return {name: after[name].cpu_s - used.cpu_s for name, used in before.items()}
