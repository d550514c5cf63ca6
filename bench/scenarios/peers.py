"""Parley beside the libraries named with `--vs`: the same turn, the same load, in turns. Nothing without `--vs`.

Each round runs Parley, the harness alone, and every library with its defaults and with its best settings, one after the
other on the same core, so that a machine that changes its mind changes it for all.
"""

import sys
from dataclasses import replace
from pathlib import Path

from bench.peers import contest, results
from bench.peers.contender import Round, measure_peer
from bench.peers.install import PEERS, Peer, check_installed
from bench.peers.ours import measure_ours
from bench.scenario import Bench, Findings

TITLE = "Beside other libraries (--vs)"
ORDER = 90


async def run(bench: Bench) -> Findings:
    """See the module's docstring. Raises PeersMissingError before anything is measured."""
    if not bench.vs:
        return Findings({})
    check_installed(bench.vs)
    peers = [PEERS[name] for name in sorted(bench.vs)]
    rounds: dict[str, list[Round]] = {}
    for number in range(1, contest.ROUND_COUNT + 1):
        await _round(bench, number, peers, rounds)
    notes = (
        results.versions_note(rounds),
        results.people_note(rounds),
        "Libraries run in process, with people and scripted engines beside them; Parley's figures include its gRPC"
        " hops, its speech detector and four processes. Libraries log warnings only; their turns are ended by the"
        " scripted recogniser at the labelled end of speech, with no endpointing delay.",
        "Tuned is on uvloop with the garbage collector frozen after start, and "
        + "; ".join(f"{peer.name}: {peer.tuned}" for peer in peers)
        + ".",
    )
    return Findings(results.figures(rounds), (results.capacity_plot(rounds),), notes)


async def _round(bench: Bench, number: int, peers: list[Peer], rounds: dict[str, list[Round]]) -> None:
    async def take(name: str, python: Path | None, module: str, *, is_tuned: bool = False) -> None:
        folder = bench.folder / f"{number}-{name}"
        folder.mkdir()
        if python is None:
            seen = await measure_ours(bench, folder)
        else:
            plan = contest.peer_plan(bench.seed, bench.is_short, contest.first_core())
            steps = (contest.COMPARED_SESSION_COUNT,) if name == results.PLAIN else plan.steps
            changed = replace(plan, has_tuned_settings=is_tuned, steps=steps)
            seen = await measure_peer(python, module, changed, folder)
        rounds.setdefault(name, []).append(seen)
        bench.say(f"round {number}, {name}: {_told(seen)}")

    await take(results.OURS, None, "")
    await take(results.PLAIN, Path(sys.executable), "plain_process")
    for peer in peers:
        await take(peer.id, peer.python, peer.module)
        await take(f"{peer.id}_tuned", peer.python, peer.module, is_tuned=True)


def _told(seen: Round) -> str:
    overheads = sorted(seen.overheads_ms)
    middle = f"{overheads[len(overheads) // 2]:.1f} ms a turn" if overheads else "no turn"
    steps = ", ".join(
        f"{step.session_count} sessions {step.cpu_us_per_frame:.0f} µs, {step.reply_late_p99_ms:.0f} ms late"
        for step in seen.steps
    )
    return f"{middle}; {steps}"
