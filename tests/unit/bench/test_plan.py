"""The same seed gives the same plan, and the plan says exactly what will be heard when."""

import json

import pytest

from bench.plan import PlanShape, engine_scripts, make_plan, plan_from_json
from bench.speech import FRAME_SAMPLE_COUNT, GRID_FRAME_COUNT
from parley_asr.engines.scripted import Script as HeardScript
from parley_llm.engines.scripted import Script as AnswerScript
from parley_tts.engines.scripted import SpeechScript
from parley_tts.phrases import PhraseCutter

SHAPE = PlanShape(session_count=6, turn_count=12, stagger_ms=3000, anywhere_share=0.5)


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert make_plan(7, SHAPE) == make_plan(7, SHAPE)
    assert engine_scripts(make_plan(7, SHAPE).turns) == engine_scripts(make_plan(7, SHAPE).turns)
    other = make_plan(8, SHAPE)
    assert other.sessions != make_plan(7, SHAPE).sessions
    assert other.turns != make_plan(7, SHAPE).turns


def test_more_sessions_change_neither_the_engines_nor_what_the_first_sessions_do() -> None:
    few, many = make_plan(7, PlanShape(session_count=2)), make_plan(7, PlanShape(session_count=9))
    assert few.turns == many.turns
    assert [session.spoken for session in few.sessions] == [session.spoken for session in many.sessions[:2]]


def test_a_plan_survives_the_way_into_another_process() -> None:
    plan = make_plan(7, SHAPE)
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_shares_of_a_plan_hold_every_session_once() -> None:
    plan = make_plan(7, SHAPE)
    shares = [session.index for part in range(4) for session in plan.part(part, 4).sessions]
    assert sorted(shares) == [session.index for session in plan.sessions]


def test_speech_ends_on_the_grid_of_frames_and_windows_but_in_sessions_that_end_anywhere() -> None:
    plan = make_plan(7, SHAPE)
    grid = GRID_FRAME_COUNT * FRAME_SAMPLE_COUNT
    on_grid = [session for session in plan.sessions if not session.ends_anywhere]
    anywhere = [session for session in plan.sessions if session.ends_anywhere]
    assert len(on_grid) == len(anywhere) == 3
    assert {turn.offset_sample % grid for session in on_grid for turn in session.spoken} == {0}
    assert len({turn.offset_sample % grid for session in anywhere for turn in session.spoken}) > 10


def test_turns_do_not_run_into_each_other() -> None:
    for session in make_plan(7, SHAPE).sessions:
        for turn, following in zip(session.spoken, session.spoken[1:], strict=False):
            assert turn.offset_sample < following.start_frame * FRAME_SAMPLE_COUNT
        assert session.spoken[-1].offset_sample < session.frame_count * FRAME_SAMPLE_COUNT


def test_a_cycle_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="160"):
        make_plan(7, PlanShape(cycle_ms=4001))


def test_the_scripted_engines_take_their_scripts() -> None:
    scripts = engine_scripts(make_plan(7, SHAPE).turns)
    HeardScript.model_validate(scripts["asr"])
    AnswerScript.model_validate(scripts["llm"])
    SpeechScript.model_validate(scripts["tts"])


def test_every_turn_is_told_apart_by_what_is_heard_and_said() -> None:
    turns = make_plan(7, PlanShape(turn_count=200)).turns
    for index, turn in enumerate(turns):
        assert [each.heard in turn.heard for each in turns].index(True) == index
        assert sum(each.first_phrase in turn.first_phrase for each in turns) == 1


def test_the_first_delta_is_the_first_phrase_so_that_writing_delays_no_speech() -> None:
    turn = make_plan(7, PlanShape(reply_ms=3000)).turns[0]
    cutter = PhraseCutter()
    cutter.push(turn.first_phrase)
    phrase = cutter.next_phrase()
    assert phrase is not None
    assert phrase.text == turn.first_phrase
    assert phrase.spoken.text == turn.first_phrase.strip()


def test_a_reply_plays_about_as_long_as_was_asked_for() -> None:
    plan = make_plan(7, PlanShape(reply_ms=3000))
    ms_per_character = engine_scripts(plan.turns)["tts"]["ms_per_character"]
    for turn in plan.turns:
        assert len(turn.first_phrase + turn.rest) * ms_per_character == pytest.approx(3000, rel=0.1)


def test_a_longer_plan_begins_with_the_turns_of_a_shorter_one() -> None:
    short, long = make_plan(7, PlanShape(turn_count=3)), make_plan(7, PlanShape(turn_count=30))
    assert long.turns[:3] == short.turns
    assert long.sessions[0].spoken[:3] == short.sessions[0].spoken
