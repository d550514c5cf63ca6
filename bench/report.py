"""`Report`: a run as `report.json` has it, judged by the goals. Made by `bench.__main__`, read by `bench.compare`."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.figures import GOALS, Figure
from bench.scenario import Findings, Scenario

_DIGITS = 4


class ReportError(Exception):
    """A file is no report; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What became of a scenario: findings, or what went wrong in a line. took_s: seconds."""

    scenario: Scenario
    findings: Findings | None
    problem: str
    took_s: float


@dataclass(frozen=True)
class Report:
    """A run. outcomes are empty where it was read from a file, which holds figures only."""

    machine: Mapping[str, Any]
    commit: str
    figures: Mapping[str, Figure]
    outcomes: tuple[Outcome, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """As the goals' page says: machine, commit, figures by id with goal and met where there is a goal."""
        return {
            "machine": dict(self.machine),
            "commit": self.commit,
            "figures": {name: _figure_json(name, self.figures[name]) for name in ordered(self.figures)},
        }


def check_figures(figures: Mapping[str, Figure], known: Collection[str] = ()) -> None:
    """ValueError where one is known already, is no finite number, or has another unit than its goal."""
    for name, figure in figures.items():
        if name in known:
            raise ValueError(f"{name} was measured twice")
        if not all(map(math.isfinite, (figure.value, *figure.spread))):
            raise ValueError(f"{name} is no finite number")
        if name in GOALS and GOALS[name].unit != figure.unit:
            raise ValueError(f"{name} is in {figure.unit}, its goal in {GOALS[name].unit}")


def made_report(machine: Mapping[str, Any], commit: str, outcomes: tuple[Outcome, ...]) -> Report:
    """The report of a run."""
    figures = {
        name: figure
        for outcome in outcomes
        for name, figure in (outcome.findings.figures if outcome.findings else {}).items()
    }
    return Report(machine, commit, figures, outcomes)


def read_report(path: Path) -> Report:
    """A report.json. Raises ReportError."""
    try:
        read = json.loads(path.read_bytes())
        figures = {
            name: Figure(
                float(each["value"]),
                str(each["unit"]),
                int(each["n"]),
                _pair(each["spread"]),
                str(each["how"]),
            )
            for name, each in read["figures"].items()
        }
        return Report(dict(read["machine"]), str(read["commit"]), figures)
    except OSError as error:
        raise ReportError(f"{path.name}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReportError(f"{path.name} is no report: {type(error).__name__} at {error}") from None


def ordered(figures: Mapping[str, Figure]) -> list[str]:
    """Ratios first, because they mean something on other machines too; each kind in the order of the goals."""
    names = [name for name in GOALS if name in figures] + sorted(figures.keys() - GOALS.keys())
    return sorted(names, key=lambda name: figures[name].unit != "ratio")


def is_met(name: str, figure: Figure) -> bool | None:
    """Whether the goal is met; None where there is none. Judged by the value as it is written."""
    return GOALS[name].is_met_by(rounded(figure.value)) if name in GOALS else None


def rounded(value: float) -> float:
    """To four significant digits: more would only look exact."""
    return float(f"{value:.{_DIGITS}g}")


def _figure_json(name: str, figure: Figure) -> dict[str, Any]:
    written: dict[str, Any] = {"value": rounded(figure.value), "unit": figure.unit}
    if name in GOALS:
        written |= {"goal": str(GOALS[name]), "met": is_met(name, figure)}
    return written | {"n": figure.n, "spread": [rounded(each) for each in figure.spread], "how": figure.how}


def _pair(read: Any) -> tuple[float, float]:
    low, high = read
    return float(low), float(high)
