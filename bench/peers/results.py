"""Rounds of all contenders → figures and the plot. Pure; used by `bench.scenarios.peers`.

A contender's id is `parley`, or a library's with `_tuned` for its best settings. Ratios are Parley ÷ library, taken
within a round, since rounds alternate: below 1 Parley is cheaper or quicker.
"""

import math
from collections.abc import Mapping, Sequence

from bench.figures import Figure, median_figure, quantile_figure
from bench.peers.contender import Round
from bench.peers.contest import COMPARED_SESSION_COUNT
from bench.peers.record import Step
from bench.scenario import Plot

OURS = "parley"
PLAIN = "plain"

Rounds = Mapping[str, Sequence[Round]]
"""By contender, as many rounds each; `plain` is the harness without any library."""

_SETTING = (
    "the library runs in one process on one core: no network hop, engines and people in the same process"
)
_OURS_SETTING = (
    "Parley's gateway on one core, three gRPC hops and the person's, people and engines in other processes"
)


def figures(rounds: Rounds) -> dict[str, Figure]:
    """All figures, ratios first. Ids whose figure could not be measured are absent."""
    libraries = [name for name in rounds if name not in (OURS, PLAIN)]
    found: dict[str, Figure | None] = {}
    for name in libraries:
        found |= _ratios(name, rounds)
    for name in (OURS, *libraries):
        found |= _of_one(name, rounds)
    return {name: figure for name, figure in found.items() if figure is not None}


def capacity_plot(rounds: Rounds) -> Plot:
    """Lateness of reply audio over the number of sessions, the median of the rounds that got so far."""
    series = {name: _curve(of) for name, of in rounds.items() if name != PLAIN}
    return Plot(
        "How late reply audio is as sessions are added, one process on one core",
        "line",
        series,
        x_label="sessions",
        y_label="ms late (p99)",
        y_marks=((20, "in time"),),
        caption="A contender is no longer in time where its line crosses the mark; where it ends, two steps in a"
        " row were late, or no more were tried.",
    )


def versions_note(rounds: Rounds) -> str:
    """What was compared."""
    told = {
        f"{name} {version}"
        for of in rounds.values()
        for each in of
        for name, version in each.versions.items()
    }
    return "Compared: " + ", ".join(sorted(told)) + "."


def people_note(rounds: Rounds) -> str:
    """How late Parley's own people were: where they are, what they heard says little about the gateway."""
    late_ms: dict[int, list[float]] = {}
    for each in rounds[OURS]:
        for step in each.steps:
            late_ms.setdefault(step.session_count, []).append(step.sent_late_p99_ms)
    told = ", ".join(
        f"{max(values):.0f} ms with {count} sessions" for count, values in sorted(late_ms.items())
    )
    return f"Parley's people themselves, beside its engines on the other cores, sent their frames late (p99): {told}."


def _ratios(name: str, rounds: Rounds) -> dict[str, Figure | None]:
    pairs = list(zip(rounds[OURS], rounds[name], strict=True))
    plain = rounds[PLAIN]
    turn = [_ratio(_median(ours.overheads_ms), _median(theirs.overheads_ms)) for ours, theirs in pairs]
    cost = f"at {COMPARED_SESSION_COUNT} sessions, CPU per 20 ms frame, Parley ÷ {name}; {_SETTING}, of whose cost the"
    cost += " harness's own was taken off"
    gateway, everything, capacity = [], [], []
    for (ours, theirs), floor in zip(pairs, plain, strict=True):
        ours_at, theirs_at, floor_at = _compared(ours), _compared(theirs), _compared(floor)
        if ours_at and theirs_at and floor_at:
            own_us = theirs_at.cpu_us_per_frame - floor_at.cpu_us_per_frame
            gateway.append(_ratio(ours_at.cpu_us_per_frame, own_us))
            everything.append(_ratio(ours_at.all_cpu_us_per_frame, own_us))
        capacity.append(_ratio(_per_core(ours), _per_core(theirs)))
    return {
        f"{name}_turn_overhead_ratio": _rounds_figure(
            turn,
            "ratio",
            f"median turn overhead of one session, Parley ÷ {name}; {_OURS_SETTING}; {_SETTING}",
        ),
        f"{name}_cpu_per_frame_ratio": _rounds_figure(
            gateway, "ratio", f"{cost}; of Parley the gateway alone: its engines are in other processes"
        ),
        f"{name}_cpu_per_frame_all_ratio": _rounds_figure(
            everything, "ratio", f"{cost}; of Parley all four processes"
        ),
        f"{name}_sessions_per_core_ratio": _rounds_figure(
            capacity,
            "ratio",
            f"sessions per core by CPU, Parley's gateway ÷ {name}; above 1 Parley holds more",
        ),
    }


def _of_one(name: str, rounds: Rounds) -> dict[str, Figure | None]:
    of = rounds[name]
    setting = _OURS_SETTING if name == OURS else _SETTING
    overheads = [value for each in of for value in each.overheads_ms]
    turn = f"one session, first reply audio − end of the person's speech − scripted delays; {setting}"
    if name == OURS:
        turn += "; end silence taken off as well, speech ends on the grid of frames and windows"
    compared = [step for each in of if (step := _compared(each))]
    unit_cost = f"at {COMPARED_SESSION_COUNT} sessions with reply audio 30 % of the time; {setting}"
    own = {
        f"{name}_turn_overhead_p50_ms": _quantile(overheads, 0.5, turn),
        f"{name}_turn_overhead_p95_ms": _quantile(overheads, 0.95, turn),
        f"{name}_sessions_per_core": _rounds_figure(
            [_per_core(each) for each in of], "sessions",
            f"1 ÷ CPU seconds per session-second at the largest load that was in time; {setting}",
        ),
        f"{name}_sessions_in_time": _rounds_figure(
            [_in_time(each) for each in of], "sessions",
            f"the largest number tried with p99 lateness of reply audio < 20 ms and no turn lost; {setting}"
            + ("; a lower bound: no more were tried, or people and engines filled their core" if name == OURS else ""),
        ),
    }  # fmt: skip
    if name == OURS:
        gateway = [step.cpu_us_per_frame for step in compared]
        everything = [step.all_cpu_us_per_frame for step in compared]
        return own | {
            f"{name}_gateway_cpu_per_frame_us": _rounds_figure(gateway, "µs", f"gateway, {unit_cost}"),
            f"{name}_cpu_per_frame_us": _rounds_figure(everything, "µs", f"all four processes, {unit_cost}"),
        }
    floors = [step.cpu_us_per_frame for each in rounds[PLAIN] if (step := _compared(each))]
    floor = f"; the harness without a library took {_median(floors):.0f} µs of it" if floors else ""
    return own | {
        f"{name}_cpu_per_frame_us": _rounds_figure(
            [step.cpu_us_per_frame for step in compared], "µs", f"process, {unit_cost}{floor}"
        )
    }


def _quantile(values: Sequence[float], share: float, how: str) -> Figure | None:
    return quantile_figure(values, share, "ms", how) if values else None


def _rounds_figure(values: Sequence[float | None], unit: str, how: str) -> Figure | None:
    """The median of rounds; none where a round has none: some rounds would be a choice."""
    known = [value for value in values if value is not None]
    return median_figure(known, unit, how) if known and len(known) == len(values) else None


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs is not None and theirs > 0 else None


def _median(values: Sequence[float]) -> float | None:
    return median_figure(values, "", "").value if values else None


def _compared(of: Round) -> Step | None:
    return next((step for step in of.steps if step.session_count == COMPARED_SESSION_COUNT), None)


def _largest_in_time(of: Round) -> Step | None:
    return max((step for step in of.steps if step.is_in_time), key=lambda s: s.session_count, default=None)


def _per_core(of: Round) -> float | None:
    step = _largest_in_time(of)
    return 1 / step.cpu_s_per_session_s if step and step.cpu_s_per_session_s > 0 else None


def _in_time(of: Round) -> float:
    step = _largest_in_time(of)
    return float(step.session_count) if step else 0.0


def _curve(of: Sequence[Round]) -> list[tuple[float, float]]:
    by_count: dict[int, list[float]] = {}
    for each in of:
        for step in each.steps:
            by_count.setdefault(step.session_count, []).append(step.reply_late_p99_ms)
    middle = {count: median_figure(values, "ms", "").value for count, values in sorted(by_count.items())}
    # Where it is endless, nothing came at all: that has no place in a picture.
    return [(float(count), late_ms) for count, late_ms in middle.items() if math.isfinite(late_ms)]
