"""Overload and scrapes: the plans and what is made of the records."""

import pytest

from bench.plan import END_SILENCE_MS, make_plan
from bench.records import SessionRecord, TurnRecord
from bench.scenarios import overload, scrapes
from bench.stack import PROCESSES


def records(*voice_to_voice_ms: float) -> list[SessionRecord]:
    made = SessionRecord(0, 0.0)
    made.turns = [
        TurnRecord(index, 0.0, 10.0, 11.0, first_audio_at_s=10.0 + each / 1000)
        for index, each in enumerate(voice_to_voice_ms)
    ]
    made.turns.append(TurnRecord(9, 0.0, 10.0))  # never answered
    return [made]


def test_the_ratio_is_that_of_the_slowest_twentieth() -> None:
    crowded = overload.voice_to_voice_ms(records(*[800.0] * 18, 1100.0, 1200.0))
    figure = overload.ratio_figure(crowded, [900.0] * 18 + [1000.0] * 2, "how")
    assert figure.value == pytest.approx(1.1)
    assert figure.n == 20


def test_the_figure_of_scrapes_is_about_answered_turns_alone() -> None:
    plan = make_plan(1, scrapes.plan_shape(is_short=True))
    expected_ms = [END_SILENCE_MS + turn.engines_ms + 7 for turn in plan.turns]
    answered = records(*expected_ms)
    for turn, script in zip(answered[0].turns, plan.turns, strict=False):
        turn.heard_text, turn.outcome = script.heard, "COMPLETED"
    assert scrapes.overheads_ms(plan, answered) == [pytest.approx(7.0)] * len(plan.turns)


def test_requests_are_planned_from_the_seed_over_all_processes_with_a_tenth_of_wrong_paths() -> None:
    planned = scrapes.planned_requests(3, 1000)
    assert planned == scrapes.planned_requests(3, 1000)
    assert planned != scrapes.planned_requests(4, 1000)
    assert {process for process, _, _ in planned} == set(PROCESSES)
    wrong = [path for _, path, status in planned if status == 404]
    assert len(wrong) == 100
    assert not {"/metrics", "/readyz", "/healthz"} & set(wrong)
