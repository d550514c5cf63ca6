"""What Parley adds to a turn beyond the end silence and the engines, in one conversation and in twenty at once.

Endings lie on the grid of client frames (20 ms) and detector windows (32 ms), and so does the end silence: quantisation
adds nothing, and all that is measured is Parley's. Five of the twenty stop speaking anywhere; they are told in a note.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.figures import Figure, median_figure, quantile, quantile_figure
from bench.load import run_load
from bench.plan import END_SILENCE_MS, Plan, PlanShape, engine_scripts, make_plan
from bench.records import SessionRecord
from bench.scenario import Bench, Findings, Plot
from bench.stack import Stack, running_stack
from bench.turns import STAGES, MeasuredTurn, measured_turns, planned_turn_count
from parley_servicekit.grpc_client import open_channel

TITLE = "One conversation, and twenty at once"
ORDER = 10
_STAGE_NAMES = ("end silence", "transcript", "first token", "first audio", "playback")
_CORES_FOR_100 = 4
_READY_S = 60.0
_STOP_S = 30.0
_ROUND_TRIP_COUNT, _ROUND_TRIP_EVERY_S = 100, 0.04


async def run(bench: Bench) -> Findings:
    """See the module's docstring."""
    figures = {"start_ready_s": await _start_ready(bench)}
    loads = {
        "one session": PlanShape(turn_count=6 if bench.is_short else 90),
        "20 sessions": PlanShape(
            session_count=20, turn_count=3 if bench.is_short else 25, stagger_ms=4000, anywhere_share=0.25
        ),
    }
    if (os.cpu_count() or 1) >= _CORES_FOR_100:
        loads["100 sessions"] = PlanShape(session_count=100, turn_count=5, stagger_ms=4000)
    measured, round_trips_ms = await _measured(bench, loads)
    alone, together = measured["one session"], measured["20 sessions"]
    figures |= _figures(alone, together)
    figures["round_trip_p50_ms"] = median_figure(
        round_trips_ms,
        "ms",
        "an empty RPC (health check) from the load generator's process to the gateway and back, one every 40 ms, nobody"
        " talks; a turn goes there and back four times: client, asr, llm, tts",
    )
    if "100 sessions" in measured:
        figures |= _overhead_figures(measured["100 sessions"], "gateway_overhead_100", "100 live sessions")
    curves = {name: _on_grid(each) for name, each in measured.items()}
    anywhere = [each.overhead_ms for each in together.turns(ends_anywhere=True)]
    notes = (
        f"In five of the twenty sessions {len(anywhere)} turns ended anywhere between two 20 ms frames and two"
        f" 32 ms windows of the speech detector. There p50 was {quantile(anywhere, 0.5):.1f} ms and p95"
        f" {quantile(anywhere, 0.95):.1f} ms: quantisation is part of that.",
    )
    plots = (_distribution(curves), _waterfall(list(alone.turns())))
    return Findings(figures, plots, notes)


class _Measured:
    """A plan and what came of it."""

    def __init__(self, plan: Plan, records: Sequence[SessionRecord]) -> None:
        self.plan = plan
        self.records = records

    def turns(self, *, ends_anywhere: bool = False) -> list[MeasuredTurn]:
        kinds = {session.index: session.ends_anywhere for session in self.plan.sessions}
        chosen = [record for record in self.records if kinds[record.index] == ends_anywhere]
        return list(measured_turns(self.plan, chosen))


async def _measured(bench: Bench, loads: Mapping[str, PlanShape]) -> tuple[dict[str, _Measured], list[float]]:
    """Each load on the same stack, one after the other. A longer plan begins with the turns of a shorter one."""
    plans = {name: make_plan(bench.seed, shape) for name, shape in loads.items()}
    longest = max(plans.values(), key=lambda plan: len(plan.turns))
    folder = bench.folder / "turns"
    folder.mkdir()
    async with running_stack(folder, engine_scripts(longest.turns)) as stack:
        round_trips_ms = await _round_trips_ms(stack.gateway)
        return {
            name: await _measure(bench, name, stack, plan) for name, plan in plans.items()
        }, round_trips_ms


async def _round_trips_ms(target: str) -> list[float]:
    """What gRPC alone takes between two processes of this machine that have to be woken up."""
    taken_ms = []
    channel = open_channel(target)
    try:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for _ in range(_ROUND_TRIP_COUNT):
            await asyncio.sleep(_ROUND_TRIP_EVERY_S)
            began_at_s = time.perf_counter()
            await stub.Check(health_pb2.HealthCheckRequest())
            taken_ms.append((time.perf_counter() - began_at_s) * 1000)
    finally:
        await channel.close()
    return taken_ms


async def _measure(bench: Bench, name: str, stack: Stack, plan: Plan) -> _Measured:
    bench.say(f"{name}: {planned_turn_count(plan)} turns")
    records = await run_load(stack.folder, stack.gateway, plan)
    answered = len(list(measured_turns(plan, records)))
    problems = sorted(
        {*(record.ended_by for record in records), *(e for r in records for e in r.errors)} - {""}
    )
    if answered < planned_turn_count(plan):
        raise RuntimeError(
            f"{name}: {answered} of {planned_turn_count(plan)} turns were answered; {problems or 'no errors told'}"
        )
    late_ms = quantile([late for record in records for late in record.send_lateness_ms], 0.99)
    bench.say(f"{name}: all answered; the client's own frames were at most {late_ms:.1f} ms late (p99)")
    return _Measured(plan, records)


def _on_grid(measured: _Measured) -> list[float]:
    return [each.overhead_ms for each in measured.turns()]


def _figures(alone: _Measured, together: _Measured) -> dict[str, Figure]:
    sums = [abs(each.voice_to_voice_ms - each.stage_sum_ms) for each in [*alone.turns(), *together.turns()]]
    return {
        "voice_to_voice_overhead_p95_ms": quantile_figure(
            _on_grid(alone),
            0.95,
            "ms",
            f"one session, {len(alone.turns())} spoken turns through four processes; client's clock, less"
            f" {END_SILENCE_MS} ms end silence and each turn's scripted engine delays (final transcript, first token,"
            " first audio)",
        ),
        **_overhead_figures(together, "gateway_overhead", "20 live sessions"),
        "stage_sum_error_p99_ms": quantile_figure(
            sums,
            0.99,
            "ms",
            "absolute difference of the five stages' sum in reply_ended and voice-to-voice on the client's clock,"
            " one session and twenty",
        ),
    }


def _overhead_figures(measured: _Measured, name: str, load: str) -> dict[str, Figure]:
    values = _on_grid(measured)
    how = (
        f"{load}, {len(values)} turns; less end silence and scripted delays; speech ends on the grid of frames and"
        " windows, so that quantisation explains 0 ms of it; gateway, services and load generator share"
        f" {os.cpu_count()} cores"
    )
    return {
        f"{name}_p50_ms": quantile_figure(values, 0.5, "ms", how),
        f"{name}_p95_ms": quantile_figure(values, 0.95, "ms", how),
    }


def _distribution(curves: dict[str, list[float]]) -> Plot:
    return Plot(
        "What Parley adds to a turn",
        "cdf",
        curves,
        x_label="ms beyond end silence and engines",
        y_label="share of turns",
        x_marks=((5, "p50 goal"), (20, "p95 goal")),
        caption="Each curve should cross the middle left of the p50 goal and be at its top left of the p95 goal.",
    )


def _waterfall(turns: list[MeasuredTurn]) -> Plot:
    middle = sorted(turns, key=lambda each: each.overhead_ms)[len(turns) // 2]
    scripted = middle.scripted_ms()
    rows = {
        name: [
            ("scripted", scripted[stage]),
            ("added by Parley", max(0.0, middle.turn.stages_ms[stage] - scripted[stage])),
        ]
        for stage, name in zip(STAGES, _STAGE_NAMES, strict=True)
    }
    return Plot(
        "The median turn, from the last speech sample to the first reply sample",
        "waterfall",
        rows,
        x_label="ms since the person stopped speaking",
        caption="Blue is what end silence and scripted engines take by design, orange what Parley adds.",
    )


# parley up.


async def _start_ready(bench: Bench) -> Figure:
    bench.say("parley up to all ready, with the embedded engines")
    rounds = [await _up_once(bench, index) for index in range(1 if bench.is_short else 5)]
    return median_figure(
        rounds,
        "s",
        "`parley up` with the embedded engines, from exec to the line that says that all are ready",
    )


async def _up_once(bench: Bench, index: int) -> float:
    folder = bench.folder / f"up-{index}"
    environment = os.environ | {
        "PARLEY_HOME": str(folder),
        "PARLEY_GATEWAY_STATE_FOLDER": str(folder / "state"),
    }
    began_at_s = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "parley_cli", "up", "--any-port", "--json",
        env=environment, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_READY_S):
            async for line in process.stdout:
                if "addresses" in json.loads(line):
                    return time.monotonic() - began_at_s
        raise RuntimeError(f"parley up ended with {await process.wait()}")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(_STOP_S):
            await process.stdout.read()
            await process.wait()
