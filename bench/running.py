"""`ran`: runs scenarios one after the other and keeps what each came to. Called by `bench.__main__`."""

import asyncio
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.plots import drawn
from bench.report import Outcome, check_figures
from bench.scenario import Bench, Findings, Scenario


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person chose for all scenarios; see `Bench`."""

    seed: int
    is_short: bool
    vs: frozenset[str] = frozenset()


def ran(scenarios: Sequence[Scenario], options: RunOptions, console: Console) -> tuple[Outcome, ...]:
    """What became of each. Ctrl-C ends the run and keeps what is finished."""
    outcomes: list[Outcome] = []
    known: set[str] = set()
    for scenario in scenarios:
        began_at_s = time.monotonic()
        console.print(f"[bold]{scenario.title}[/]", highlight=False)
        try:
            findings, problem = _findings(scenario, options, known, console)
        except KeyboardInterrupt:
            console.print("  stopped", highlight=False)
            return (
                *outcomes,
                *(Outcome(each, None, "stopped by hand", 0.0) for each in scenarios[len(outcomes) :]),
            )
        known |= findings.figures.keys() if findings else set()
        took_s = time.monotonic() - began_at_s
        console.print(f"  {took_s:.0f} s", highlight=False)
        outcomes.append(Outcome(scenario, findings, problem, took_s))
    return tuple(outcomes)


def _findings(
    scenario: Scenario, options: RunOptions, known: set[str], console: Console
) -> tuple[Findings | None, str]:
    """The findings, or what went wrong in a line. An hour of other scenarios is not lost to the mistake of one."""

    def say(line: str) -> None:
        console.print(f"  {line}", highlight=False, markup=False)

    with tempfile.TemporaryDirectory(prefix="parley-bench-") as folder:
        bench = Bench(options.seed, options.is_short, Path(folder), say, options.vs)
        try:
            findings = asyncio.run(_awaited(scenario, bench))
            check_figures(findings.figures, known)
            for plot in findings.plots:
                drawn(plot)
        except Exception as error:
            problem = _in_a_line(error).replace(folder, "the scratch folder")
            console.print(f"  [red]failed[/]: {problem}", highlight=False)
            _show_details(error, Path(folder), console)
            return None, problem
    return findings, ""


async def _awaited(scenario: Scenario, bench: Bench) -> Findings:
    return await scenario.run(bench)


def _in_a_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _show_details(error: Exception, folder: Path, console: Console) -> None:
    """Where it happened, and the last words of the processes that took part."""
    console.print("".join(traceback.format_exception(error)), highlight=False, markup=False)
    for log in sorted(folder.rglob("logs/*.log")):
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-2:]
        console.print(f"  {log.name}: " + " | ".join(last)[-1000:], highlight=False, markup=False)
