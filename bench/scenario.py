"""What a scenario is. Every module in `bench/scenarios` is one; `bench.__main__` finds it by the name of its file.

    TITLE = "One conversation, and twenty at once"          # a line for people
    ORDER = 10                                              # optional; lower runs earlier, 50 where it is not said
    async def run(bench: Bench) -> Findings: ...

A scenario that cannot measure a figure leaves its id out and says why in a note. One that fails raises.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import scenarios
from bench.figures import Figure

Points = Sequence[float] | Sequence[tuple[float, float]] | Sequence[tuple[str, float]]
"""What a curve or a row is drawn from; which of them, the kind of the plot says."""


@dataclass(frozen=True)
class Bench:
    """What a run is like.

    seed: of every plan; is_short: minutes rather than an hour; folder: an empty one of the scenario's own, kept
    when it fails; say: tells a person a line about how far it is; vs: libraries to compare with (pipecat, livekit).
    """

    seed: int
    is_short: bool
    folder: Path
    say: Callable[[str], None]
    vs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Plot:
    """A picture for the report. kind picks how it is drawn; `series` are what it is drawn from; see `bench.plots`.

    cdf: series of values, drawn sorted; line: series of (x, y) points; bars: a row for each series, its (label, value)
    one after the other; waterfall: the same, each row beginning where the one above it ends.
    x_marks, y_marks: lines with a label at a value, such as a budget.
    """

    title: str
    kind: Literal["cdf", "line", "bars", "waterfall"]
    series: Mapping[str, Points]
    x_label: str = ""
    y_label: str = ""
    x_marks: tuple[tuple[float, str], ...] = ()
    y_marks: tuple[tuple[float, str], ...] = ()
    caption: str = ""
    """A sentence under the picture: what a person should see in it."""


@dataclass(frozen=True)
class Findings:
    """What a scenario found out. figures: by id, known to `bench.words`; notes: what a reader has to know."""

    figures: dict[str, Figure]
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """A module of `bench/scenarios`."""

    name: str
    title: str
    order: int
    run: Callable[[Bench], Awaitable[Findings]]


def discovered() -> list[Scenario]:
    """Every scenario, in the order in which they are to run."""
    found = []
    for module_found in pkgutil.iter_modules(scenarios.__path__):
        module = importlib.import_module(f"{scenarios.__name__}.{module_found.name}")
        order = getattr(module, "ORDER", 50)
        found.append(Scenario(module_found.name, module.TITLE, order, module.run))
    return sorted(found, key=lambda scenario: (scenario.order, scenario.name))
