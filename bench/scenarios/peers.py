"""Parley beside the libraries named with `--vs`: the same turn, the same load, in turns. Nothing without `--vs`.

Each round runs Parley, then every library and the harness alone with defaults and with best settings, one after the
other on the same core, so that a machine that changes its mind changes it for all.
"""

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
    def keep(name: str, seen: Round) -> None:
        rounds.setdefault(name, []).append(seen)
        bench.say(f"round {number}, {name}: {_told(seen)}")

    plan = contest.peer_plan(bench.seed, bench.is_short, contest.first_core())
    floor = replace(plan, steps=(contest.COMPARED_SESSION_COUNT,))
    keep(results.OURS, await measure_ours(bench, _folder(bench, number, results.OURS)))
    for suffix, is_tuned in (("", False), (results.TUNED, True)):
        runs = [(results.HARNESS, peers[0].python, "plain_process", floor)]
        runs += [(peer.id, peer.python, peer.module, plan) for peer in peers]
        for name, python, module, given in runs:
            folder = _folder(bench, number, name + suffix)
            settings = replace(given, has_tuned_settings=is_tuned)
            keep(name + suffix, await measure_peer(python, module, settings, folder))


def _folder(bench: Bench, number: int, name: str) -> Path:
    folder = bench.folder / f"{number}-{name}"
    folder.mkdir()
    return folder


def _told(seen: Round) -> str:
    overheads = sorted(seen.overheads_ms)
    middle = f"{overheads[len(overheads) // 2]:.1f} ms a turn" if overheads else "no turn"
    steps = ", ".join(
        f"{step.session_count} sessions {step.cpu_us_per_frame:.0f} µs, {step.reply_late_p99_ms:.0f} ms late"
        for step in seen.steps
    )
    return f"{middle}; {steps}"
