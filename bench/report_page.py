"""`report.html`: one self-contained page for people. Written by `bench.__main__`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from bench.figures import GOALS, Figure
from bench.plots import drawn
from bench.report import Report, is_met, ordered, rounded
from bench.words import words_of

_TEMPLATE = Path(__file__).parent / "report_page.html"
# From here on other work on the machine shows in figures of a few milliseconds.
_NOISY_SHARE = 0.02


def written_page(report: Report) -> str:
    """The whole page."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        summary=summary(report),
        commit=report.commit,
        machine_line=_machine_line(report.machine),
        outcomes=report.outcomes,
        groups=_groups(rows(report)),
        drawn=drawn,
        machine_rows=_machine_rows(report.machine),
        noise_sentence=_noise_sentence(report.machine.get("noise", {})),
    )


def rows(report: Report) -> list[dict[str, str]]:
    """The table's lines: name, says, value, unit, is_ratio, spread, goal, verdict, kind, n, how."""
    table = []
    for name in ordered(report.figures):
        figure = report.figures[name]
        met = is_met(name, figure)
        table.append(
            {
                "name": name,
                "says": words_of(name),
                "value": number(figure.value),
                "is_ratio": "yes" if figure.unit == "ratio" else "",
                "unit": "" if figure.unit in ("ratio", "count") else figure.unit,
                "spread": _spread(figure),
                "goal": _comparison(name),
                "verdict": {True: "✓ met", False: "✗ not met", None: "no goal"}[met],
                "kind": {True: "met", False: "missed", None: "ungoaled"}[met],
                "n": str(figure.n),
                "how": figure.how,
            }
        )
    return table


def _groups(table: list[dict[str, str]]) -> list[tuple[str, list[dict[str, str]]]]:
    """The lines under headings; a heading without lines is left out."""
    ratios = [row for row in table if row["is_ratio"]]
    others = [row for row in table if not row["is_ratio"]]
    titled = (
        ("Ratios, which mean much the same on any machine", ratios),
        ("As measured on this machine", others),
    )
    return [(title, part) for title, part in titled if part]


def summary(report: Report) -> str:
    """A sentence: how many goals are met."""
    judged = [is_met(name, figure) for name, figure in report.figures.items() if name in GOALS]
    failed = sum(bool(outcome.problem) for outcome in report.outcomes)
    told = f"{sum(map(bool, judged))} of {len(judged)} measured goals met"
    rest = len(GOALS) - len(judged)
    told += f"; {rest} more {'is' if rest == 1 else 'are'} defined and not measured in this run"
    return told + (f"; {failed} scenario{'s' if failed > 1 else ''} failed." if failed else ".")


def number(value: float) -> str:
    """Short and without an exponent where a person would write none."""
    value = rounded(value)
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _spread(figure: Figure) -> str:
    """Empty where it says nothing: what was counted is so many."""
    return "" if figure.unit == "count" else f"{number(figure.spread[0])} to {number(figure.spread[1])}"


def _comparison(name: str) -> str:
    if name not in GOALS:
        return ""
    goal = GOALS[name]
    return f"{ {'<=': '≤', '>=': '≥', '==': '='}[goal.comparison] } {number(goal.aim)}"


def _machine_line(machine: Mapping[str, Any]) -> str:
    virtual = {True: ", virtual", False: ", not virtual", None: ""}[machine.get("virtualised")]
    return f"{machine.get('cpu', 'Unknown CPU')}, {machine.get('cores', '?')} cores{virtual}."


def _machine_rows(machine: Mapping[str, Any]) -> list[tuple[str, str]]:
    labels = {
        "cpu": "CPU",
        "cores": "cores",
        "usable_cores": "cores that may be used",
        "memory_gib": "memory, GiB",
        "virtualised": "virtual machine",
        "system": "system",
        "kernel": "kernel",
        "python": "Python",
        "packages": "packages",
        "load_at_start": "load at start (1, 5, 15 min)",
        "length": "length of the run",
        "seed": "seed",
    }
    return [(label, _told(machine[key])) for key, label in labels.items() if key in machine]


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return (
        {True: "yes", False: "no", None: "unknown"}[value]
        if value is None or isinstance(value, bool)
        else str(value)
    )


def _noise_sentence(noise: Mapping[str, float]) -> str:
    if not noise:
        return ""
    told = (
        f"Before the run a busy loop was held up {noise['stolen_share']:.1%} of a second by other work, at most"
        f" {noise['longest_ms']:g} ms at a time."
    )
    if noise["stolen_share"] < _NOISY_SHARE:
        return told
    return told + " That is a noisy machine: trust ratios and medians rather than tails."
