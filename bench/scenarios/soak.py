"""People talk on and on: memory, file descriptors, event-loop lag and CPU of each process over the time.

Half a minute in the short form, else five minutes, or as many as the variable BENCH_SOAK_MINUTES says: 30 for a
release.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from bench.figures import Figure, count_figure
from bench.load import running_load
from bench.plan import PlanShape, Spread, engine_scripts, make_plan
from bench.scenario import Bench, Findings, Plot
from bench.stack import PROCESSES, Stack, running_stack

TITLE = "People talk on and on"
ORDER = 80

_CYCLE_MS = 4800
_SHORT_S = 20
_MINUTES = 5
# Caches fill and allocators settle first: what is compared begins after this share of the time.
_WARM_UP_SHARE = 0.3
_KIB = 1024


@dataclass(frozen=True)
class Sample:
    """A process at a moment. lag_*: of the event-loop lag histogram, its sum in seconds and its count."""

    at_s: float
    cpu_s: float
    memory_bytes: int
    descriptor_count: int
    lag_sum_s: float
    lag_count: float


async def run(bench: Bench) -> Findings:
    """See the module's docstring."""
    shape = plan_shape(_length_s(bench))
    plan = make_plan(bench.seed, shape)
    every_s = 1.0 if bench.is_short else 5.0
    samples: dict[str, list[Sample]] = {name: [] for name in PROCESSES}
    async with (
        running_stack(bench.folder, engine_scripts(plan.turns)) as stack,
        running_load(bench.folder, stack.gateway, plan) as load,
    ):
        await load.settled()
        bench.say(f"{shape.session_count} people, {shape.turn_count} turns each: about {load.length_s:.0f} s")
        began_at_s = time.monotonic()
        until_s = began_at_s + load.length_s - shape.stagger_ms / 1000 - 2
        while time.monotonic() < until_s:
            for name in PROCESSES:
                samples[name].append(await _sample(stack, name, began_at_s))
            if len(samples["gateway"]) % 60 == 0:
                bench.say(f"after {samples['gateway'][-1].at_s:.0f} s: {_memory_told(samples)}")
            await asyncio.sleep(every_s)
        records = await load.records()
    turns = [turn for record in records for turn in record.turns]
    return findings(samples, shape.session_count, len(turns), sum(turn.outcome == "FAILED" for turn in turns))


def plan_shape(length_s: float) -> PlanShape:
    """Ten people; everybody speaks all the time, so that there is as much to leak as there can be."""
    return PlanShape(
        session_count=10,
        turn_count=max(2, round(length_s * 1000 / _CYCLE_MS)),
        cycle_ms=_CYCLE_MS,
        reply_ms=1500,
        stagger_ms=2000,
        asr_final=Spread(20, 60),
        llm_first_token=Spread(80, 160),
        tts_first_audio=Spread(40, 80),
    )


def _length_s(bench: Bench) -> float:
    if bench.is_short:
        return _SHORT_S
    return float(os.environ.get("BENCH_SOAK_MINUTES", _MINUTES)) * 60


async def _sample(stack: Stack, name: str, began_at_s: float) -> Sample:
    usage = stack.usage()[name]
    metrics = await stack.metrics(name)
    lag = f"parley_{name}_event_loop_lag_seconds"
    descriptors = psutil.Process(stack.pids[name]).num_fds()
    return Sample(
        time.monotonic() - began_at_s,
        usage.cpu_s,
        usage.memory_bytes,
        descriptors,
        metrics.get(f"{lag}_sum", 0.0),
        metrics.get(f"{lag}_count", 0.0),
    )


def _memory_told(samples: dict[str, list[Sample]]) -> str:
    return ", ".join(
        f"{name} {each[-1].memory_bytes / _KIB / _KIB:.0f} MiB" for name, each in samples.items()
    )


# What came of it.


def findings(
    samples: dict[str, list[Sample]], session_count: int, turn_count: int, failed_count: int
) -> Findings:
    """The figures, from samples of each process in order."""
    kept = {name: each[int(len(each) * _WARM_UP_SHARE) :] for name, each in samples.items()}
    slopes = {name: slope_kib_a_minute(each) for name, each in kept.items()}
    grown = {name: _grown_descriptors(each) for name, each in kept.items()}
    length_s = samples["gateway"][-1].at_s
    what = f"{session_count} people who talk all the time for {length_s:.0f} s, the first {_WARM_UP_SHARE:.0%} left out"
    figures = {
        "soak_memory_slope_kib_per_minute": Figure(
            max(slopes.values()),
            "KiB/min",
            len(kept["gateway"]),
            (min(slopes.values()), max(slopes.values())),
            f"{what}: resident memory, median of the slopes between all pairs of samples, the worst process"
            f" ({', '.join(f'{name} {slope:.0f}' for name, slope in slopes.items())})",
        ),
        "soak_descriptor_growth": count_figure(
            max(grown.values()),
            len(kept["gateway"]),
            "file descriptors at the end − at the beginning (medians of a fifth of the time each), the worst process"
            f" ({', '.join(f'{name} {count:+d}' for name, count in grown.items())})",
        ),
        "soak_cpu_ratio": _cpu_figure(kept["gateway"], session_count),
        "soak_failed_turns": count_figure(failed_count, turn_count, "turns whose reply failed"),
    }
    lag = _lag_figure(kept["gateway"])
    if lag is not None:
        figures["soak_lag_ratio"] = lag
    return Findings(figures, _plots(samples, session_count))


def slope_kib_a_minute(samples: Sequence[Sample]) -> float:
    """Theil-Sen: the median slope between samples, which a single jump does not move."""
    thinned = samples[:: max(1, len(samples) // 200)]
    slopes = [
        (later.memory_bytes - earlier.memory_bytes) / _KIB / (later.at_s - earlier.at_s) * 60
        for index, earlier in enumerate(thinned)
        for later in thinned[index + 1 :]
        if later.at_s > earlier.at_s
    ]
    return statistics.median(slopes)


def _grown_descriptors(samples: Sequence[Sample]) -> int:
    fifth = max(1, len(samples) // 5)
    counts = [each.descriptor_count for each in samples]
    return round(statistics.median(counts[-fifth:]) - statistics.median(counts[:fifth]))


def _halves(samples: Sequence[Sample]) -> tuple[tuple[Sample, Sample], tuple[Sample, Sample]]:
    third = max(1, len(samples) // 3)
    return (samples[0], samples[third]), (samples[-1 - third], samples[-1])


def _cpu_figure(samples: Sequence[Sample], session_count: int) -> Figure:
    early, late = (
        (end.cpu_s - begin.cpu_s) / (end.at_s - begin.at_s) / session_count * 1000
        for begin, end in _halves(samples)
    )
    how = f"CPU of the gateway per session-second, last third ({late:.2f} ms) ÷ first third ({early:.2f} ms)"
    return Figure(late / early, "ratio", len(samples), (late / early, late / early), how)


def _lag_figure(samples: Sequence[Sample]) -> Figure | None:
    early, late = (
        (end.lag_sum_s - begin.lag_sum_s) / max(1.0, end.lag_count - begin.lag_count) * 1000
        for begin, end in _halves(samples)
    )
    if not early:
        return None
    how = f"mean event-loop lag of the gateway, last third ({late:.2f} ms) ÷ first third ({early:.2f} ms) of the time"
    return Figure(late / early, "ratio", len(samples), (late / early, late / early), how)


def _plots(samples: dict[str, list[Sample]], session_count: int) -> tuple[Plot, ...]:
    memory = {
        name: [(each.at_s, each.memory_bytes / _KIB / _KIB) for each in process]
        for name, process in samples.items()
    }
    cpu = {
        name: [
            (later.at_s, (later.cpu_s - earlier.cpu_s) / (later.at_s - earlier.at_s) / session_count * 1000)
            for earlier, later in zip(process[::5], process[5::5], strict=False)
        ]
        for name, process in samples.items()
    }
    return (
        Plot(
            "Memory over the time",
            "line",
            memory,
            x_label="seconds",
            y_label="MiB resident",
            caption="A line that goes on climbing is a leak.",
        ),
        Plot(
            "What talking costs over the time",
            "line",
            cpu,
            x_label="seconds",
            y_label="ms of CPU per session-second",
        ),
    )
