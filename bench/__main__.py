"""`python -m bench`: runs scenarios, shows the figures, writes the report.

Exit codes: 0 ran, 1 a scenario failed, 2 wrong use.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import traceback
from pathlib import Path

from bench.scenario import Bench, Findings, Scenario, discovered


def main(arguments: list[str]) -> int:
    """Run; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("scenarios", nargs="*", help="names; all where none is given")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vs", action="append", default=[], choices=["pipecat", "livekit-agents"])
    options = parser.parse_args(arguments)
    known = {scenario.name: scenario for scenario in discovered()}
    unknown = [name for name in options.scenarios if name not in known]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.scenarios] or list(known.values())
    failed = 0
    for scenario in chosen:
        findings = _run(scenario, options.seed, is_short=options.short, vs=frozenset(options.vs))
        failed += findings is None
        for name, figure in (findings.figures if findings else {}).items():
            print(f"{name}: {figure.value:g} {figure.unit} (n={figure.n}, {figure.spread}) {figure.how}")
    return 1 if failed else 0


async def _awaited(scenario: Scenario, bench: Bench) -> Findings:
    return await scenario.run(bench)


def _run(scenario: Scenario, seed: int, *, is_short: bool, vs: frozenset[str]) -> Findings | None:
    print(f"== {scenario.title}", flush=True)
    began_at_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(seed, is_short, Path(folder), lambda line: print(f"   {line}", flush=True), vs)
        try:
            findings: Findings | None = asyncio.run(_awaited(scenario, bench))
        except Exception:
            traceback.print_exc()
            findings = None
    print(f"== {scenario.name}: {time.monotonic() - began_at_s:.0f} s", flush=True)
    return findings


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
