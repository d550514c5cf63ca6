"""Outages are planned from a seed, and silence, loss and doubling are seen where they are."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from bench.outages import KINDS, TARGETS, Outage, Suffered, plan_outages
from bench.plan import make_plan
from bench.records import TurnRecord
from bench.scenario import Findings
from bench.scenarios import chaos
from bench.witness import Told, Witness

PLAN = make_plan(1, chaos.plan_shape(16))
OUTAGE = Suffered(Outage("llm", "kill", 10.0, 3.0), began_at_s=110.0, over_at_s=113.0)


def witness(
    turns: list[TurnRecord], told: list[Told] | None = None, committed: tuple[str, ...] = ()
) -> Witness:
    person = Witness("127.0.0.1:1", PLAN.sessions[0])
    person.record.turns = turns
    person.told = told or []
    person.committed_ids = list(committed)
    return person


def turn(
    first_audio_at_s: float | None = None, outcome: str = "COMPLETED", ended_at_s: float = 103.0
) -> TurnRecord:
    """Spoken until 100.0, committed at 101.0."""
    return TurnRecord(
        0, 99.0, 100.0, 101.0, first_audio_at_s=first_audio_at_s, outcome=outcome, ended_at_s=ended_at_s
    )


def values(found: Findings) -> dict[str, float]:
    return {name: figure.value for name, figure in found.figures.items()}


def test_the_same_seed_plans_the_same_outages_and_another_seed_others() -> None:
    assert plan_outages(3, 2, 10.0, one_kind_each=False) == plan_outages(3, 2, 10.0, one_kind_each=False)
    assert plan_outages(3, 2, 10.0, one_kind_each=False) != plan_outages(4, 2, 10.0, one_kind_each=False)


@pytest.mark.parametrize("seed", range(20))
def test_outages_do_not_overlap_and_every_kind_meets_every_target(seed: int) -> None:
    outages = plan_outages(seed, 2, 10.0, one_kind_each=False)
    assert {(each.target, each.kind) for each in outages} == {(a, b) for a in TARGETS for b in KINDS}
    assert len(outages) == 2 * len(TARGETS) * len(KINDS)
    for earlier, later in pairwise(outages):
        assert earlier.at_s + earlier.length_s < later.at_s
    short = plan_outages(seed, 1, 5.0, one_kind_each=True)
    assert sorted(each.target for each in short) == sorted(TARGETS)
    assert {each.kind for each in short} == set(KINDS)


def test_somebody_speaks_after_the_last_outage_and_nobody_before_their_reply_would_be_given_up() -> None:
    for is_short, length_s in ((True, 18.4), (False, 384.0)):
        shape = chaos.plan_shape(length_s)
        last = make_plan(1, shape).sessions[-1]
        spoken_at_s = (last.open_at_ms + last.spoken[-1].onset_sample / 16) / 1000
        assert spoken_at_s > length_s, is_short
        assert shape.cycle_ms >= 7500


def test_a_turn_that_is_followed_by_nothing_is_dead_air() -> None:
    silent = turn(outcome="")
    assert chaos.dead_air([witness([silent])]) == ([silent], 1)


@pytest.mark.parametrize("at_s", [101.0, 105.9])
def test_a_turn_that_is_answered_or_whose_failure_is_told_within_five_seconds_is_none(at_s: float) -> None:
    assert chaos.dead_air([witness([turn(first_audio_at_s=at_s)])]) == ([], 1)
    told = [Told(at_s, "LLM_UNAVAILABLE", is_of_turn=True)]
    assert chaos.dead_air([witness([turn(outcome="FAILED")], told)]) == ([], 1)


def test_what_comes_too_late_too_early_or_is_about_something_else_does_not_count() -> None:
    for told in (
        Told(107.0, "REPLY_TIMEOUT", is_of_turn=True),
        Told(100.5, "REPLY_TIMEOUT", is_of_turn=True),
        Told(102.0, "STORE_UNAVAILABLE", is_of_turn=False),
    ):
        assert len(chaos.dead_air([witness([turn(first_audio_at_s=107.0)], [told])])[0]) == 1


def test_who_left_as_planned_misses_nothing_and_whose_stream_broke_does() -> None:
    left = witness([turn(outcome="")])
    left.record.ended_at_s = 102.0
    assert chaos.dead_air([left])[0] == []
    left.record.ended_by = "UNAVAILABLE"
    assert len(chaos.dead_air([left])[0]) == 1


def test_a_spoken_turn_that_comes_to_nothing_is_unheard_unless_the_person_was_told() -> None:
    lost = TurnRecord(0, 99.0, 100.0)
    assert chaos.unheard([witness([lost])]) == [lost]
    assert chaos.unheard([witness([lost], [Told(104.0, "ASR_STALLED", is_of_turn=False)])]) == []
    assert chaos.unheard([witness([turn()])]) == []


def test_turns_that_the_history_lacks_or_has_twice_are_counted() -> None:
    people = [witness([turn(102.0)], committed=("1", "2", "2")), witness([turn(102.0)], committed=("1",))]
    found = values(chaos.findings(people, [OUTAGE], [["1", "1"], None], ""))
    assert found["chaos_lost_turns"] == 2  # "2" of the first, "1" of the second, which cannot be read
    assert found["chaos_doubled_turns"] == 1


def test_recovery_is_the_first_answer_to_what_was_said_after_the_outage() -> None:
    before = turn(first_audio_at_s=114.0)
    after = TurnRecord(1, 113.0, 114.0, 114.5, first_audio_at_s=115.0, outcome="COMPLETED")
    failed = TurnRecord(2, 109.0, 110.0, 110.5, outcome="FAILED", ended_at_s=111.0)
    elsewhere = TurnRecord(3, 129.0, 130.0, 130.5, outcome="FAILED", ended_at_s=131.0)
    told = [Told(111.0, "LLM_UNAVAILABLE", is_of_turn=True), Told(131.0, "X", is_of_turn=True)]
    found = chaos.findings([witness([before, after, failed, elsewhere], told)], [OUTAGE], [[]], "")
    assert values(found)["chaos_recovery_p95_s"] == 2.0
    assert values(found)["chaos_harmed_elsewhere"] == 1
    assert found.notes == (
        "kill llm for 3.0 s: people were told 1 × LLM_UNAVAILABLE; 1 replies failed; next good turn after it: 2.0 s",
    )


def test_the_test_of_the_turn_taker_that_the_full_form_runs_is_there() -> None:
    path, _, name = chaos.MACHINE_TEST.partition("::")
    assert f"def {name}(" in (Path(__file__).parents[3] / path).read_text()


def test_each_outage_has_a_row_of_its_own_and_says_where_nothing_followed() -> None:
    seen = [
        chaos.Outcome(OUTAGE, 0.5, Counter(), 0),
        chaos.Outcome(OUTAGE, None, Counter(), 2),
        chaos.Outcome(OUTAGE, 0.7, Counter(), 0),
    ]
    assert dict(chaos.outages_plot(seen).series) == {
        "1. kill llm": [("outage", 3.0), ("until the next good turn", 0.5)],
        "2. kill llm\nno good turn after": [("outage", 3.0)],
        "3. kill llm": [("outage", 3.0), ("until the next good turn", 0.7)],
    }
