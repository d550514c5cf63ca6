"""`python -m bench compare OLD.json NEW.json`: what became better, what worse, and what is within noise.

A difference counts only where it is larger than 5 % and the two spreads do not overlap. Where a figure has no direction
(no goal), it is told as higher or lower.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bench.figures import GOALS, Figure
from bench.report import Report, ordered

_NOISE_SHARE = 0.05
Verdict = Literal["better", "worse", "higher", "lower", "within noise", "the same"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of two reports. ratio: new ÷ old, None where old is 0; its spread: lowest and highest plausible."""

    name: str
    unit: str
    old: float
    new: float
    ratio: float | None
    spread: tuple[float, float] | None
    verdict: Verdict


def compared(old: Report, new: Report) -> Iterator[Compared]:
    """Every figure that both reports have."""
    for name in ordered(old.figures):
        if name in new.figures:
            yield _compared(name, old.figures[name], new.figures[name])


def only_in(one: Report, other: Report) -> list[str]:
    """Figures that one report has and the other does not."""
    return [name for name in ordered(one.figures) if name not in other.figures]


def differences(old: Report, new: Report) -> list[str]:
    """What about the machine makes the comparison doubtful, a line each."""
    keys = ("cpu", "cores", "memory_gib", "virtualised", "kernel", "python", "packages", "length", "seed")
    return [
        f"{key}: {old.machine.get(key)} then, {new.machine.get(key)} now"
        for key in keys
        if old.machine.get(key) != new.machine.get(key)
    ]


def _compared(name: str, old: Figure, new: Figure) -> Compared:
    ratio = new.value / old.value if old.value else None
    spread = None
    if min(old.spread) > 0:
        spread = (new.spread[0] / old.spread[1], new.spread[1] / old.spread[0])
    return Compared(name, new.unit, old.value, new.value, ratio, spread, _verdict(name, old, new))


def _verdict(name: str, old: Figure, new: Figure) -> Verdict:
    if old.value == new.value:
        return "the same"
    overlap = old.spread[0] <= new.spread[1] and new.spread[0] <= old.spread[1]
    if overlap or abs(new.value - old.value) <= _NOISE_SHARE * abs(old.value):
        return "within noise"
    is_higher = new.value > old.value
    goal = GOALS.get(name)
    if goal is None:
        return "higher" if is_higher else "lower"
    return "better" if is_higher == (goal.comparison == ">=") else "worse"
