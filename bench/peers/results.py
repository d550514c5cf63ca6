"""Rounds of all contenders → figures and the plot. Pure; used by `bench.scenarios.peers`.

A contender's name is `parley`, or a library's with `_tuned` for its best settings. `harness` and `harness_tuned` are no
contenders: they are what the process of a library costs without the library. Ratios are Parley ÷ library, taken within
a round, since rounds alternate: below 1 Parley is cheaper or quicker.
"""

import math
from collections.abc import Mapping, Sequence

from bench.figures import Figure, median_figure, quantile_figure
from bench.peers.contender import Round
from bench.peers.contest import COMPARED_SESSION_COUNT
from bench.peers.record import Step
from bench.scenario import Plot
from bench.words import contender_name

OURS = "parley"
HARNESS = "harness"
TUNED = "_tuned"

Rounds = Mapping[str, Sequence[Round]]
"""By contender, as many rounds each."""
_Found = dict[str, Figure | None]

_IN_PROCESS = "in one process on one core, no network hop, engines and people in the same process"
_FOUR_PROCESSES = (
    "four processes, the gateway on one core; three gRPC hops and the person's; people in another process"
)
_LOAD = f"at {COMPARED_SESSION_COUNT} sessions with reply audio 30 % of the time"
_TURN = "one session, first reply audio − end of the person's speech − scripted delays"
_GRID = "end silence taken off as well, speech ends on the grid of frames and windows"
_PER_CORE = "1 ÷ CPU seconds per session-second at the largest load that was in time"
_IN_TIME = "the largest number tried with p99 lateness of reply audio < 20 ms and no turn lost"
_LOWER_BOUND = "a lower bound: no more were tried, or people and engines filled their core"


def figures(rounds: Rounds) -> dict[str, Figure]:
    """All figures, ratios first. Ids whose figure could not be measured in every round are absent."""
    libraries = [name for name in rounds if name != OURS and not name.startswith(HARNESS)]
    found: _Found = {}
    for name in libraries:
        found |= _ratios(name, rounds)
    found |= _ours(rounds[OURS])
    for name in libraries:
        found |= _turn(name, rounds[name], _IN_PROCESS) | _cpu(name, rounds)
        found |= _capacity(name, rounds[name], _IN_PROCESS)
    for name in (HARNESS, HARNESS + TUNED):
        found |= _turn(name, rounds[name], f"no library; {_IN_PROCESS}") | _cpu(name, rounds)
    return {name: figure for name, figure in found.items() if figure is not None}


def capacity_plot(rounds: Rounds) -> Plot:
    """Lateness of reply audio over the number of sessions, the median of the rounds that got so far."""
    return Plot(
        "How late reply audio is as sessions are added, one process on one core",
        "line",
        {contender_name(name): _curve(of) for name, of in rounds.items() if not name.startswith(HARNESS)},
        x_label="sessions",
        y_label="ms late (p99)",
        y_marks=((20, "in time"),),
        caption="A contender is no longer in time where its line crosses the mark; where it ends, two steps in a"
        " row were late, or no more were tried.",
    )


def versions_note(rounds: Rounds) -> str:
    """What was compared."""
    every = [each.versions for of in rounds.values() for each in of]
    told = {f"{name} {version}" for versions in every for name, version in versions.items()}
    return "Compared: " + ", ".join(sorted(told)) + "."


def people_note(rounds: Rounds) -> str:
    """How late Parley's own people were: where they are, what they heard says little about the gateway."""
    late_ms: dict[int, float] = {}
    for each in rounds[OURS]:
        for step in each.steps:
            late_ms[step.session_count] = max(late_ms.get(step.session_count, 0.0), step.sent_late_p99_ms)
    told = ", ".join(f"{late:.0f} ms with {count} sessions" for count, late in sorted(late_ms.items()))
    return f"Parley's people themselves, beside its engines on the other cores, sent their frames late (p99): {told}."


def _ratios(name: str, rounds: Rounds) -> _Found:
    turn, gateway, everything, capacity = [], [], [], []
    for ours, theirs, floor in zip(rounds[OURS], rounds[name], rounds[_floor_name(name)], strict=True):
        turn.append(_ratio(_median(ours.overheads_ms), _median(theirs.overheads_ms)))
        capacity.append(_ratio(_per_core(ours), _per_core(theirs)))
        ours_at, theirs_at, floor_at = _compared(ours), _compared(theirs), _compared(floor)
        if ours_at and theirs_at and floor_at:
            own_us = theirs_at.cpu_us_per_frame - floor_at.cpu_us_per_frame
            gateway.append(_ratio(ours_at.cpu_us_per_frame, own_us))
            everything.append(_ratio(ours_at.all_cpu_us_per_frame, own_us))
    pair = f"Parley ÷ {name}; Parley: {_FOUR_PROCESSES}; {name}: {_IN_PROCESS}"
    cpu = f"CPU per 20 ms frame {_LOAD}, {pair}, the harness's own cost taken off"
    return {
        f"{name}_turn_overhead_ratio": _rounds_figure(turn, "ratio", f"median of {_TURN}, {pair}"),
        f"{name}_cpu_per_frame_ratio": _rounds_figure(
            gateway, "ratio", f"{cpu}; of Parley the gateway alone"
        ),
        f"{name}_cpu_per_frame_all_ratio": _rounds_figure(
            everything, "ratio", f"{cpu}; of Parley all four processes"
        ),
        f"{name}_sessions_per_core_ratio": _rounds_figure(
            capacity, "ratio", f"{_PER_CORE}, {pair}; of Parley the gateway's core; above 1 Parley holds more"
        ),
    }


def _ours(of: Sequence[Round]) -> _Found:
    everything = [step.all_cpu_us_per_frame if (step := _compared(each)) else None for each in of]
    return {
        **_turn(OURS, of, f"{_GRID}; {_FOUR_PROCESSES}"),
        f"{OURS}_gateway_cpu_per_frame_us": _rounds_figure(
            _per_frame(of), "µs", f"gateway, {_LOAD}; {_FOUR_PROCESSES}"
        ),
        f"{OURS}_cpu_per_frame_us": _rounds_figure(
            everything, "µs", f"all four processes, {_LOAD}; {_FOUR_PROCESSES}"
        ),
        **_capacity(OURS, of, f"{_FOUR_PROCESSES}; {_LOWER_BOUND}"),
    }


def _turn(name: str, of: Sequence[Round], setting: str) -> _Found:
    values = [value for each in of for value in each.overheads_ms]
    if not values:
        return {}
    how = f"{_TURN}; {setting}"
    return {
        f"{name}_turn_overhead_p50_ms": quantile_figure(values, 0.5, "ms", how),
        f"{name}_turn_overhead_p95_ms": quantile_figure(values, 0.95, "ms", how),
    }


def _cpu(name: str, rounds: Rounds) -> _Found:
    how = f"process, {_LOAD}; {_IN_PROCESS}"
    floor = _rounds_figure(_per_frame(rounds[_floor_name(name)]), "µs", "")
    if floor is not None and not name.startswith(HARNESS):
        how += f"; the harness without the library took {floor.value:.0f} µs of it"
    return {f"{name}_cpu_per_frame_us": _rounds_figure(_per_frame(rounds[name]), "µs", how)}


def _per_frame(of: Sequence[Round]) -> list[float | None]:
    return [step.cpu_us_per_frame if (step := _compared(each)) else None for each in of]


def _capacity(name: str, of: Sequence[Round], setting: str) -> _Found:
    per_core = [_per_core(each) for each in of]
    in_time = [step.session_count if (step := _largest_in_time(each)) else 0 for each in of]
    return {
        f"{name}_sessions_per_core": _rounds_figure(per_core, "sessions", f"{_PER_CORE}; {setting}"),
        f"{name}_sessions_in_time": _rounds_figure(in_time, "sessions", f"{_IN_TIME}; {setting}"),
    }


def _floor_name(name: str) -> str:
    return HARNESS + TUNED if name.endswith(TUNED) else HARNESS


def _rounds_figure(values: Sequence[float | None], unit: str, how: str) -> Figure | None:
    """The median of rounds; none where a round has none: a median of some rounds would be a choice."""
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


def _curve(of: Sequence[Round]) -> list[tuple[float, float]]:
    by_count: dict[int, list[float]] = {}
    for each in of:
        for step in each.steps:
            by_count.setdefault(step.session_count, []).append(step.reply_late_p99_ms)
    middle = {count: median_figure(values, "ms", "").value for count, values in sorted(by_count.items())}
    # Where it is endless, nothing came at all: that has no place in a picture.
    return [(float(count), late_ms) for count, late_ms in middle.items() if math.isfinite(late_ms)]
