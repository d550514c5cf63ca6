"""`python -m bench`: runs scenarios, shows the figures, writes the report; `python -m bench compare` compares two.

Exit codes: 0 ran, 1 a scenario failed, 2 wrong use. Called by `make bench`, `bench-short` and `bench-compare`.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bench import compare
from bench.machine import commit, described_machine
from bench.peers.install import PEERS, PeersMissingError, check_installed
from bench.report import Report, ReportError, made_report, read_report
from bench.report_page import written_page
from bench.running import RunOptions, ran
from bench.scenario import Scenario, discovered
from bench.terminal import show_comparison, show_report

RAN, FAILED, WRONG_USE = 0, 1, 2
_OUT = Path("bench/out")
_LOG_WIDTH = 120


def main(arguments: Sequence[str]) -> int:
    """Run or compare; gives the exit code."""
    if arguments[:1] == ["compare"]:
        return _compare(arguments[1:])
    known = {scenario.name: scenario for scenario in discovered()}
    options = _options(arguments, known)
    # With --json standard output is for machines, and people read along on standard error.
    console = Console(stderr=options.json, soft_wrap=True)
    if not console.is_terminal:
        console = Console(stderr=options.json, soft_wrap=True, width=_LOG_WIDTH)
    # A scenario says itself what its processes are to be like; nothing of the person's own shell may change it.
    for name in [name for name in os.environ if name.startswith(("PARLEY_", "OTEL_"))]:
        del os.environ[name]
    machine = described_machine() | {"length": "short" if options.short else "full", "seed": options.seed}
    chosen = [known[name] for name in (options.scenarios or known)]
    outcomes = ran(chosen, RunOptions(options.seed, options.short, frozenset(options.vs)), console)
    report = made_report(machine, commit(), outcomes)
    _write(report, options.out)
    show_report(console, report)
    console.print(f"report: {options.out / 'report.html'}", highlight=False)
    if options.json:
        print(json.dumps(report.to_json()))
    return FAILED if any(outcome.problem for outcome in outcomes) else RAN


def _options(arguments: Sequence[str], known: dict[str, Scenario]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help=f"which ones (default: all): {', '.join(known)}")
    parser.add_argument("--short", action="store_true", help="a few minutes, less exact")
    parser.add_argument("--seed", type=int, default=1, help="of all plans (default: 1)")
    parser.add_argument("--out", type=Path, default=_OUT, help="folder for report.json and report.html")
    parser.add_argument("--json", action="store_true", help="report.json on standard output, too")
    parser.add_argument(
        "--vs",
        action="append",
        default=[],
        choices=sorted(PEERS),
        help="a library to compare with; repeatable",
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.scenarios if name not in known]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(known)}")
    try:
        check_installed(options.vs)
    except PeersMissingError as error:
        parser.error(str(error))
    return options


def _write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n")
    (folder / "report.html").write_text(written_page(report), encoding="utf-8")


def _compare(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench compare", description=compare.__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(arguments)
    try:
        old, new = read_report(options.old), read_report(options.new)
    except ReportError as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    found = list(compare.compared(old, new))
    if options.json:
        print(json.dumps([asdict(each) for each in found]))
        return RAN
    remarks = [f"{name}: only in the old report" for name in compare.only_in(old, new)]
    remarks += [f"{name}: only in the new report" for name in compare.only_in(new, old)]
    remarks += [f"the machines differ in {line}" for line in compare.differences(old, new)]
    show_comparison(Console(), found, remarks)
    return RAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
