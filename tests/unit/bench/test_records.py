"""What a person notes survives the way between processes, and lateness is what a listener would call late."""

import json

import pytest

from bench.person import Person, _leading_silence_s, _Playing
from bench.plan import PlanShape, make_plan
from bench.records import Refusal, SessionRecord, TurnRecord, record_from_json
from bench.speech import FRAME_SAMPLE_COUNT


def test_a_record_survives_the_way_into_another_process() -> None:
    turn = TurnRecord(0, 1.0, speech_end_at_s=2.0, first_audio_at_s=2.7, stages_ms={"endpointing": 640.0})
    record = SessionRecord(3, 0.5, refusal=Refusal("AT_CAPACITY", 3.0, 1000), turns=[turn], gaps_ms=[1.0])
    assert record_from_json(json.loads(json.dumps(record.to_json()))) == record


def test_voice_to_voice_is_from_last_speech_sample_to_first_reply_sample() -> None:
    turn = TurnRecord(0, 1.0, speech_end_at_s=2.0)
    assert turn.voice_to_voice_ms is None
    turn.first_audio_at_s = 2.75
    assert turn.voice_to_voice_ms == 750.0


def test_audio_within_the_lead_is_in_time_and_paced_audio_is_late_by_what_it_comes_later() -> None:
    playing = _Playing()
    assert playing.lateness_ms(1, 0.0, 40.0, 10.0) == (0.0, 0.0)
    # Ends at 340 ms of the reply: may leave 40 ms after its beginning.
    assert playing.lateness_ms(1, 240.0, 100.0, 10.040)[0] == pytest.approx(0.0, abs=1e-6)
    assert playing.lateness_ms(1, 340.0, 100.0, 10.165)[0] == pytest.approx(25.0)


def test_a_listener_who_hears_nothing_for_a_while_goes_on_from_there() -> None:
    playing = _Playing()
    playing.lateness_ms(1, 0.0, 100.0, 10.0)
    late_ms, gap_ms = playing.lateness_ms(1, 100.0, 100.0, 10.150)
    # Against the pace it is late by all of it, because it might have been sent at once.
    assert (late_ms, gap_ms) == (pytest.approx(150.0), pytest.approx(50.0))
    assert playing.lateness_ms(1, 200.0, 100.0, 10.250) == (
        pytest.approx(200.0),
        pytest.approx(0.0, abs=1e-6),
    )


def test_another_reply_has_a_pace_of_its_own() -> None:
    playing = _Playing()
    playing.lateness_ms(1, 0.0, 40.0, 10.0)
    assert playing.lateness_ms(2, 0.0, 40.0, 15.0) == (0.0, 0.0)


def test_silence_before_the_first_sample_that_can_be_heard_is_part_of_the_wait() -> None:
    def pcm(*samples: int) -> bytes:
        return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)

    assert _leading_silence_s([pcm(*[0] * 2400), pcm(10, -5000)]) == pytest.approx(2401 / 24_000)
    assert _leading_silence_s([pcm(0, 5, -31)]) is None


def test_every_planned_frame_is_sent_and_onset_and_end_are_marked_where_the_labels_are() -> None:
    session = make_plan(7, PlanShape(turn_count=3)).sessions[0]
    frames = list(Person("127.0.0.1:1", session)._frames())
    assert len(frames) == session.frame_count
    onsets = [index for index, (_, mark) in enumerate(frames) if mark == "onset"]
    ends = [index for index, (_, mark) in enumerate(frames) if mark == "end"]
    assert onsets == [turn.onset_sample // FRAME_SAMPLE_COUNT for turn in session.spoken]
    assert ends == [(turn.offset_sample - 1) // FRAME_SAMPLE_COUNT for turn in session.spoken]
