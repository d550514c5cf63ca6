"""The harness of the contest as a process of its own, with no library in it: real time, a second or two."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers import contest
from bench.peers.contender import PeerFailedError, measure_peer
from bench.peers.workload import Plan

PYTHON = Path(sys.executable)


def quick_plan() -> Plan:
    plan = contest.peer_plan(1, True, None)
    turns = tuple(replace(turn, transcript_ms=5, model_ms=5, voice_ms=5) for turn in plan.workload.turns[:4])
    workload = replace(plan.workload, cycle_ms=600, lead_in_ms=40, speech_ms=100, reply_ms=200, turns=turns)
    return replace(plan, turn_count=2, steps=(1, 2), step_s=1.2, workload=workload)


async def test_the_harness_answers_every_turn_and_tells_each_step(tmp_path: Path) -> None:
    seen = await measure_peer(PYTHON, "plain_process", quick_plan(), tmp_path)
    assert len(seen.overheads_ms) == 2
    assert seen.lost_turn_count == 0
    assert [step.session_count for step in seen.steps] in ([1], [1, 2])
    assert seen.steps[0].turn_count >= 1
    assert seen.steps[0].cpu_us_per_frame > 0
    assert seen.versions["Python"]


async def test_a_process_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(PeerFailedError, match="No module named"):
        await measure_peer(PYTHON, "no_such_process", quick_plan(), tmp_path)


async def test_a_process_that_tells_nonsense_is_refused(tmp_path: Path) -> None:
    # The installer tells people what it does, in no line that a process of the contest would write.
    with pytest.raises(PeerFailedError, match="install failed"):
        await measure_peer(PYTHON, "install", quick_plan(), tmp_path)
