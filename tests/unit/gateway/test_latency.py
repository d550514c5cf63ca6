"""`LatencyMarks`: five segments that are never negative and sum to voice-to-voice, whatever came when."""

from hypothesis import given
from hypothesis import strategies as st

from parley_gateway.latency import LatencyMarks

MOMENT = st.floats(0, 1e7, allow_nan=False)


@given(MOMENT, MOMENT, MOMENT, st.none() | MOMENT, st.none() | MOMENT, MOMENT)
def test_segments_sum_to_the_time_from_the_last_speech_to_the_first_audio(
    speech_end: float,
    utterance_end: float,
    transcript: float,
    first_token: float | None,
    first_speech: float | None,
    first_audio: float,
) -> None:
    marks = LatencyMarks(speech_end, utterance_end, transcript, first_token, first_speech, first_audio)
    latency = marks.latency()
    assert latency is not None
    assert all(value >= 0 for value in latency.stages_ms().values())
    expected = max(0.0, first_audio - speech_end)
    assert abs(latency.voice_to_voice_ms - expected) <= 1e-6 * max(1.0, expected)


def test_what_happens_in_order_is_told_as_it_was() -> None:
    latency = LatencyMarks(1000.0, 1600.0, 1650.0, 1800.0, 1900.0, 1910.0).latency()
    assert latency is not None
    assert latency.stages_ms() == {
        "endpointing": 600.0,
        "asr.final": 50.0,
        "llm.first_token": 150.0,
        "tts.first_audio": 100.0,
        "playback.first_audio": 10.0,
    }


def test_work_that_was_done_before_its_segment_shows_as_nothing() -> None:
    latency = LatencyMarks(1000.0, 1600.0, 1650.0, 1200.0, 1300.0, 1700.0).latency()
    assert latency is not None
    assert latency.llm_first_token_ms == latency.tts_first_audio_ms == 0
    assert latency.voice_to_voice_ms == 700.0


def test_a_reply_that_nobody_heard_has_none() -> None:
    assert LatencyMarks(0.0, 0.0, 0.0, 5.0, 6.0).latency() is None
