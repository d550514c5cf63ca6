"""One live recognition: what it tells about which audio, and what the recogniser gets to hear."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.asr.hearing import Hearing, RecordingEngine, hear, scripted, silence, speech

from parley_asr.engines.scripted import Script, ScriptedEngine
from parley_asr.events import AudioAcknowledged, SpeechActivityChanged, TranscriptChanged
from parley_asr.ports import SAMPLE_RATE_HZ, WINDOW_SAMPLE_COUNT
from parley_asr.recognition import RecognitionLimits
from parley_asr.voice_activity import ActivityKind, Endpointing

MANUAL = Endpointing(manual=True)


async def test_an_utterance_is_told_from_start_to_final() -> None:
    hearing = await hear([silence(500), speech(1000), silence(1000)], scripted("one two"))
    assert hearing.told() == [
        "started", "partial:one", "partial:one two", "paused", "ended", "final:one two"
    ]  # fmt: skip
    (final,) = hearing.finals()
    assert final.utterance_index == 0
    assert abs(final.start_sample - 8000) <= WINDOW_SAMPLE_COUNT
    assert abs(final.end_sample - 24000) <= WINDOW_SAMPLE_COUNT


async def test_silence_says_nothing_and_costs_no_recognition() -> None:
    engine = RecordingEngine()
    hearing = await hear([silence(5000)], engine)
    assert hearing.told() == [] and engine.heard == []


@pytest.mark.parametrize("count", [0, 1, 16])
async def test_next_to_no_audio_is_fine(count: int) -> None:
    hearing = await hear([speech(100)[:count]], scripted("never"))
    assert hearing.told() == []


async def test_audio_ends_in_the_middle_of_an_utterance() -> None:
    hearing = await hear([speech(700)], scripted("go on"))
    assert hearing.told()[-2:] == ["ended", "final:go on"]


async def test_the_recogniser_hears_what_came_just_before_the_onset_and_everything_after_it() -> None:
    engine = RecordingEngine()
    soft, loud = speech(300, level=0.002), speech(900)
    await hear([silence(2000), soft, loud, silence(1000)], engine)
    (heard,) = engine.heard
    wanted = np.concatenate((soft, loud))
    at = int(np.flatnonzero(heard)[0])
    assert np.array_equal(heard[at : at + len(wanted)], wanted)
    assert not heard[:at].any() and at <= 0.35 * SAMPLE_RATE_HZ
    assert len(heard) - at - len(wanted) >= 0.3 * SAMPLE_RATE_HZ


async def test_a_long_pause_is_not_recognised_and_words_keep_their_true_times() -> None:
    engine = RecordingEngine()
    endpointing = Endpointing(end_silence_ms=10_000)
    hearing = await hear([speech(1000), silence(6000), speech(1000), silence(200)], engine, endpointing)
    assert [word for word in hearing.told() if word[0] != "f"] == ["started", "paused", "resumed", "ended"]
    assert len(engine.heard[0]) < 3.6 * SAMPLE_RATE_HZ
    words = hearing.finals()[0].words
    assert words[0].start_sample == 0
    assert words[-1].start_sample > 6.9 * SAMPLE_RATE_HZ
    assert [word.start_sample for word in words] == sorted(word.start_sample for word in words)


async def test_no_audio_is_recognised_twice() -> None:
    engine = RecordingEngine()
    audio = [speech(500), silence(300), speech(500, level=0.3), silence(300)]
    await hear(audio, engine, Endpointing(end_silence_ms=100, pause_silence_ms=50))
    assert len(engine.heard) == 2
    loud = np.concatenate([heard[heard != 0] for heard in engine.heard])
    assert np.array_equal(loud, np.concatenate((audio[0], audio[2])))


async def test_a_manual_utterance_ends_only_when_told() -> None:
    hearing = Hearing()
    recognition = await hearing.open(scripted("yes please", "no"), MANUAL, RecognitionLimits())
    await recognition.accept(np.concatenate((speech(600), silence(8000))))
    assert hearing.told()[-1] == "paused"
    await recognition.finish_utterance()
    assert hearing.told()[-2:] == ["ended", "final:yes please"]


async def test_finishing_when_nothing_was_said_gives_exactly_one_empty_final() -> None:
    hearing = Hearing()
    recognition = await hearing.open(scripted("never"), MANUAL, RecognitionLimits())
    await recognition.finish_utterance()
    await recognition.accept(silence(700))
    await recognition.finish_utterance()
    assert hearing.told() == ["final:", "final:"]
    assert [final.utterance_index for final in hearing.finals()] == [0, 1]
    assert hearing.finals()[1].start_sample == 700 * 16


async def test_a_discarded_utterance_leaves_no_transcript_and_the_next_one_does() -> None:
    hearing = Hearing()
    recognition = await hearing.open(scripted("first", "second"), Endpointing(), RecognitionLimits())
    await recognition.accept(speech(600))
    await recognition.discard_utterance()
    await recognition.accept(np.concatenate((silence(1000), speech(600), silence(1000))))
    assert [text for text in hearing.told() if text.startswith("final")] == ["final:second"]


async def test_speech_without_an_end_is_cut_at_the_maximum_and_none_of_it_is_lost() -> None:
    engine = RecordingEngine()
    audio = speech(5000)
    hearing = await hear([audio], engine, MANUAL, RecognitionLimits(utterance_max_ms=2000))
    assert len(hearing.finals()) == 3
    heard = np.concatenate(engine.heard)
    assert np.array_equal(heard, audio)


async def test_partials_come_only_when_the_text_changes() -> None:
    hearing = await hear([speech(4000)], scripted("a b", word_ms=1000))
    assert [text for text in hearing.told() if text.startswith("partial")] == ["partial:a", "partial:a b"]


async def test_partials_come_at_most_eleven_times_a_second_however_small_the_chunks() -> None:
    hearing = await hear([speech(4000)], scripted("w " * 4000, word_ms=1), chunk_sample_count=16)
    assert sum(isinstance(event, TranscriptChanged) for event in hearing.events) <= 44


async def test_stability_is_the_share_of_the_text_that_stayed() -> None:
    hearing = await hear([speech(1000)], scripted("ab cd", word_ms=400))
    partials = [event for event in hearing.events if isinstance(event, TranscriptChanged)]
    assert [partial.stability for partial in partials] == [0, 0.4]


async def test_audio_is_acknowledged_every_half_second_of_audio() -> None:
    hearing = await hear([silence(3000)], scripted("never"))
    offsets = [event.offset_samples for event in hearing.events if isinstance(event, AudioAcknowledged)]
    assert offsets == [8000, 16000, 24000, 32000, 40000, 48000]


async def test_slow_audio_is_acknowledged_within_a_second_too() -> None:
    hearing = Hearing()
    recognition = await hearing.open(scripted("never"), Endpointing(), RecognitionLimits())
    await recognition.accept(silence(20))
    assert hearing.events == []
    hearing.now_s = 0.9
    await recognition.accept(silence(20))
    assert hearing.events == [AudioAcknowledged(640)]


@pytest.mark.parametrize(("failure", "reason"), [("fault", "DECODING_FAILED"), ("hang", "DECODING_TOO_SLOW")])
async def test_an_utterance_that_fails_while_spoken_is_told_and_the_next_one_works(
    failure: str, reason: str
) -> None:
    script = {"utterances": [{"text": "a", "failure": failure, "failure_at_ms": 500}, {"text": "good"}]}
    limits = RecognitionLimits(decode_timeout_ms=5)
    audio = [speech(600), silence(1000), speech(600), silence(1000)]
    hearing = await hear(audio, ScriptedEngine(Script.model_validate(script)), limits=limits)
    told = [text for text in hearing.told() if text.startswith(("failed", "final"))]
    assert told == [f"failed:{reason}", "final:good"]


async def test_an_end_whose_final_fails_still_has_exactly_one_final() -> None:
    script = {"utterances": [{"text": "a", "failure": "fault"}, {"text": "good"}]}
    audio = [speech(600), silence(1000), speech(600), silence(1000)]
    hearing = await hear(audio, ScriptedEngine(Script.model_validate(script)))
    told = [text for text in hearing.told() if not text.startswith(("partial", "paused", "started"))]
    assert told == ["ended", "failed:DECODING_FAILED", "final:", "ended", "final:good"]


async def test_every_stream_of_the_engine_is_closed() -> None:
    engine = RecordingEngine()
    hearing = Hearing()
    recognition = await hearing.open(engine, Endpointing(), RecognitionLimits())
    await recognition.accept(np.concatenate((speech(500), silence(1000), speech(500))))
    recognition.close()
    assert len(engine.heard) == engine.closed_count == 2


@settings(deadline=None)
@given(
    parts=st.lists(st.tuples(st.booleans(), st.integers(1, 900)), max_size=8),
    chunk=st.sampled_from([160, 320, 1601, 30_000]),
    end_ms=st.integers(100, 800),
)
async def test_ends_and_finals_alternate_and_indexes_count_up(
    parts: list[tuple[bool, int]], chunk: int, end_ms: int
) -> None:
    audio = [speech(length) if is_speech else silence(length) for is_speech, length in parts]
    engine = RecordingEngine()
    hearing = await hear(audio, engine, Endpointing(False, end_ms, 50), chunk_sample_count=chunk)
    story = [word[:5] for word in hearing.told() if word[:5] in ("start", "ended", "final")]
    assert story == ["start", "ended", "final"] * (len(story) // 3)
    assert [final.utterance_index for final in hearing.finals()] == list(range(len(hearing.finals())))
    assert engine.closed_count == len(engine.heard) == len(hearing.finals())
    offsets = [
        event.activity.offset_samples
        for event in hearing.events
        if isinstance(event, SpeechActivityChanged) and event.activity.kind is not ActivityKind.PAUSED
    ]
    assert offsets == sorted(offsets)
