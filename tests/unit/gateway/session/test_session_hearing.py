"""What a `Session` does with speech: turns, barge-in, push-to-talk, a recogniser that fails; and what it never logs."""

import asyncio
import io
import json
from collections.abc import Iterator

import pytest
import structlog

from parley_gateway import conversation as log
from parley_gateway.ports import Heard, InputSafe, SpeechBegan, SpeechOver, UtteranceFailed, Word
from parley_gateway.session import outputs
from parley_gateway.turns.policy import BargeIn, TurnDetection, TurnPolicy
from parley_servicekit.faults import Fault
from parley_servicekit.logs import configure_logs
from support.session_rig import FRAME, FRAME_MS, Rig, Services, in_session, session_config
from support.session_services import DISCARD, FINISH, ChatModelDouble, SpeechToTextDouble

PUSH_TO_TALK = session_config(TurnPolicy(detection=TurnDetection.PUSH_TO_TALK))
ASR_GONE = Fault.unavailable("ASR_UNAVAILABLE", "gone")
LONG = ("word after word, ",) * 20


def heard_by(rig: Rig) -> list[str]:
    """What the recogniser got: runs of audio, and requests."""
    kinds = [each if isinstance(each, str) else "audio" for each in rig.ear.received]
    return [kind for index, kind in enumerate(kinds) if index == 0 or kind != kinds[index - 1]]


async def test_a_spoken_turn_is_answered() -> None:
    async with in_session() as rig:
        await rig.hear(50)
        rig.person_says("what time is it", 100.0, 900.0)
        assert (await rig.ended()).outcome is log.ReplyOutcome.COMPLETED
    transcript = rig.of(outputs.TranscriptOutput)[-1]
    committed = rig.of(outputs.TurnCommittedOutput)[0]
    assert (transcript.text, transcript.turn_id) == (committed.text, committed.turn_id)
    assert [each.kind for each in rig.of(outputs.SpeechActivity)] == ["STARTED", "ENDED"]


async def test_latency_counts_from_the_arrival_of_the_last_speech_sample() -> None:
    loop = asyncio.get_running_loop()
    async with in_session(Services(model=ChatModelDouble(0.3, "yes"))) as rig:
        await rig.hear(50)
        await asyncio.sleep(0.6)
        await rig.hear(30)
        began_s = loop.time()
        rig.person_says("hello", 100.0, 1000.0)
        await rig.until(outputs.ReplyAudio)
        since_ms = (loop.time() - began_s) * 1000
        latency = (await rig.ended()).latency
    assert latency is not None
    assert latency.endpointing_ms == pytest.approx(600, abs=1)
    assert latency.llm_first_token_ms == pytest.approx(300, abs=1)
    assert latency.voice_to_voice_ms == pytest.approx(600 + since_ms, abs=1)


async def test_speech_over_a_reply_ends_it_and_is_the_next_turn() -> None:
    async with in_session(Services(model=ChatModelDouble(*LONG))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio, count=5)
        await rig.hear(50)
        rig.person_says("stop", 100.0, 900.0)
        assert (await rig.ended()).outcome is log.ReplyOutcome.INTERRUPTED
        await rig.until(outputs.ReplyStartedOutput, count=2)
    assert [each.text for each in rig.of(outputs.TurnCommittedOutput)] == ["hello", "stop"]


async def test_speech_over_a_reply_is_ignored_where_barge_in_is_off() -> None:
    async with in_session(config=session_config(TurnPolicy(barge_in=BargeIn.OFF))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio)
        await rig.hear(50)
        rig.person_says("stop", 100.0, 900.0)
        assert (await rig.ended()).outcome is log.ReplyOutcome.COMPLETED
    assert len(rig.of(outputs.TurnCommittedOutput)) == 1


async def test_who_goes_on_speaking_revises_the_turn_and_nothing_of_the_first_reply_is_heard() -> None:
    async with in_session(Services(model=ChatModelDouble(0.5, "yes"))) as rig:
        await rig.hear(200)
        rig.person_says("I would like", 100.0, 900.0)
        await rig.until(outputs.ReplyStartedOutput)
        rig.ear.tell(SpeechBegan(1200.0), Heard("a cup", is_final=False))
        partial = await rig.until(outputs.TranscriptOutput, lambda each: not each.is_final)
        await asyncio.sleep(3)
        assert not rig.of(outputs.ReplyAudio)
        rig.ear.tell(
            SpeechOver(2000.0),
            Heard("a cup of tea", is_final=True, start_offset_ms=1200.0, end_offset_ms=2000.0),
        )
        assert (await rig.ended(2)).outcome is log.ReplyOutcome.COMPLETED
    turns = rig.of(outputs.TurnCommittedOutput)
    assert [(turn.turn_id, turn.revision, turn.text) for turn in turns] == [
        ("1", 1, "I would like"),
        ("1", 2, "I would like a cup of tea"),
    ]
    assert partial.turn_id == "1"
    assert {each.reply_id for each in rig.of(outputs.ReplyAudio)} == {2}


async def test_a_cough_lets_the_reply_that_was_held_back_go_on() -> None:
    async with in_session() as rig:
        await rig.hear(200)
        rig.person_says("hello", 100.0, 900.0)
        rig.ear.tell(SpeechBegan(1000.0))
        await rig.until(outputs.SpeechActivity, count=3)
        rig.ear.tell(
            SpeechOver(1100.0), Heard("", is_final=True, start_offset_ms=1000.0, end_offset_ms=1100.0)
        )
        assert (await rig.ended()).outcome is log.ReplyOutcome.COMPLETED


async def test_an_utterance_that_failed_is_one_error_and_its_empty_transcript_nothing() -> None:
    async with in_session() as rig:
        await rig.hear(100)
        rig.ear.tell(
            SpeechBegan(0.0), SpeechOver(500.0), UtteranceFailed(Fault.internal("DECODER_FAILED", "x"))
        )
        rig.ear.tell(Heard("", is_final=True, start_offset_ms=0.0, end_offset_ms=500.0))
        rig.person_says("again", 600.0, 900.0)
        await rig.ended()
    assert [each.fault.reason for each in rig.of(outputs.ErrorOutput)] == ["DECODER_FAILED"]
    assert [each.text for each in rig.of(outputs.TranscriptOutput)] == ["again"]


async def test_an_offset_that_the_recogniser_does_not_tell_is_not_taken_for_zero() -> None:
    async with in_session() as rig:
        for count, text in enumerate(("one", "two"), start=1):
            rig.ear.tell(SpeechBegan(0.0), SpeechOver(0.0), Heard(text, is_final=True))
            await rig.ended(count)
    assert [each.text for each in rig.of(outputs.TurnCommittedOutput)] == ["one", "two"]


async def test_input_is_acknowledged_once_a_second() -> None:
    async with in_session() as rig:
        await rig.hear(150)
        rig.ear.tell(*(InputSafe(500.0 * count) for count in range(1, 7)))
        await rig.until(outputs.InputAcknowledged, lambda each: each.offset_ms == 3000.0)
    assert [each.offset_ms for each in rig.of(outputs.InputAcknowledged)] == [1000.0, 2000.0, 3000.0]


async def test_a_recogniser_that_goes_away_is_one_error_and_comes_back_in_place() -> None:
    async with in_session() as rig:
        await rig.hear(50)
        rig.ear.tell(SpeechBegan(100.0))
        rig.ear.fail(ASR_GONE)
        await rig.until(outputs.ServiceLevelOutput, lambda each: each.level == 0)
        await rig.hear(50)
        await asyncio.sleep(0.01)
        rig.ear.tell(InputSafe(500.0))
        assert (await rig.until(outputs.InputAcknowledged)).offset_ms == 50 * FRAME_MS + 500.0
        rig.person_says("hello", 200.0, 800.0)
        assert (await rig.ended()).outcome is log.ReplyOutcome.COMPLETED
    assert [each.fault.reason for each in rig.of(outputs.ErrorOutput)] == ["ASR_UNAVAILABLE"]
    assert len(rig.services.ears.streams) == 2
    assert rig.services.ears.streams[0].is_closed


async def test_a_config_that_the_recogniser_refuses_ends_the_session_typed() -> None:
    refusal = Fault.caller("INVALID_CONFIG", "no such language", field="config.recognition.language_codes")
    services = Services(ears=SpeechToTextDouble(refusal))
    with pytest.raises(ExceptionGroup):
        async with in_session(services) as rig:
            raise AssertionError(f"a session opened: {rig.outputs}")


async def test_a_recogniser_that_takes_no_audio_is_given_up_and_opened_anew() -> None:
    async with in_session() as rig:
        rig.ear.is_frozen = True
        async with asyncio.timeout(0.1):
            await rig.hear(200)  # four seconds of speech wait without holding the client up
        error = await rig.until(outputs.ErrorOutput)
        await rig.until(outputs.ServiceLevelOutput, lambda each: each.level == 0)
    assert error.fault.reason == "ASR_STALLED"


async def test_audio_is_held_back_while_the_recogniser_holds_back() -> None:
    async with in_session() as rig:
        rig.ear.is_frozen = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await rig.hear(1000)


async def test_words_are_placed_in_the_session() -> None:
    async with in_session() as rig:
        rig.ear.fail(ASR_GONE)
        await rig.hear(10)
        await rig.until(outputs.ServiceLevelOutput, lambda each: each.level == 0)
        await rig.hear(50)
        await asyncio.sleep(0.01)
        start_ms = rig.ear.received[0].start_offset_ms  # type: ignore[union-attr]
        rig.ear.tell(SpeechBegan(0.0), SpeechOver(900.0))
        rig.ear.tell(Heard("yes", is_final=True, words=[Word("yes", 100.0, 300.0)], start_offset_ms=0.0))
        word = (await rig.until(outputs.TranscriptOutput)).words[0]
    assert start_ms == 0.0
    assert (word.start_offset_ms, word.end_offset_ms) == (10 * FRAME_MS + 100.0, 10 * FRAME_MS + 300.0)


async def test_push_to_talk_passes_on_only_what_is_said_while_it_is_pressed() -> None:
    async with in_session(config=PUSH_TO_TALK) as rig:
        await rig.hear(100)
        rig.session.take_start_of_turn()
        await rig.hear(50)
        rig.session.take_end_of_turn()
        await rig.hear(100)
        await asyncio.sleep(0.01)
        assert heard_by(rig) == [DISCARD, "audio", FINISH]
        rig.ear.tell(SpeechBegan(96.0), SpeechOver(900.0))
        rig.ear.tell(Heard("hello", is_final=True, start_offset_ms=96.0, end_offset_ms=900.0))
        await rig.ended()
        rig.session.take_start_of_turn()
        await rig.hear(50)
        rig.session.take_end_of_turn()
        await asyncio.sleep(0.01)
        audio = [each for each in rig.ear.received if not isinstance(each, str)]
        assert audio[50].start_offset_ms == 50 * FRAME_MS, "for the recogniser there is no gap"
        rig.ear.tell(SpeechBegan(1100.0), SpeechOver(1900.0))
        rig.ear.tell(Heard("and", is_final=True, start_offset_ms=1100.0, end_offset_ms=1900.0))
        await rig.ended(2)
    started = [each.offset_ms for each in rig.of(outputs.SpeechActivity) if each.kind == "STARTED"]
    assert started == [100 * FRAME_MS + 96.0, 250 * FRAME_MS + 100.0]
    assert rig.of(outputs.InputAcknowledged), "what goes nowhere is safe"


async def test_push_to_talk_pressed_for_nothing_says_so() -> None:
    async with in_session(config=PUSH_TO_TALK) as rig:
        rig.session.take_start_of_turn()
        rig.session.take_end_of_turn()
        await asyncio.sleep(0.01)
        rig.ear.tell(Heard("", is_final=True, start_offset_ms=0.0, end_offset_ms=0.0))
        assert (await rig.until(outputs.ErrorOutput)).fault.reason == "NO_SPEECH"


async def test_push_to_talk_released_while_the_recogniser_is_away_is_a_typed_error() -> None:
    async with in_session(Services(ears=SpeechToTextDouble(*[ASR_GONE] * 9)), PUSH_TO_TALK) as rig:
        rig.session.take_start_of_turn()
        await rig.session.take_audio((FRAME,), None)
        rig.session.take_end_of_turn()
        await rig.until(outputs.ErrorOutput, count=2)
        assert {each.fault.reason for each in rig.of(outputs.ErrorOutput)} == {"ASR_UNAVAILABLE"}


async def test_push_to_talk_messages_are_refused_by_name_in_an_automatic_conversation() -> None:
    async with in_session() as rig:
        for take, field in (
            (rig.session.take_start_of_turn, "start_of_turn"),
            (rig.session.take_end_of_turn, "end_of_turn"),
        ):
            with pytest.raises(Fault) as refusal:
                take()
            assert (refusal.value.reason, refusal.value.field) == ("NOT_PUSH_TO_TALK", field)


async def test_audio_of_a_typed_over_utterance_is_discarded_in_its_place() -> None:
    async with in_session() as rig:
        await rig.hear(10)
        rig.ear.tell(SpeechBegan(0.0))
        await rig.until(outputs.SpeechActivity)
        rig.session.take_text("I rather type")
        await rig.hear(10)
        await asyncio.sleep(0.01)
        assert heard_by(rig) == ["audio", DISCARD, "audio"]


async def test_a_client_that_stops_sending_in_the_middle_of_speech_gets_its_turn() -> None:
    async with in_session() as rig:
        await rig.hear(50)
        rig.ear.tell(SpeechBegan(100.0))
        await asyncio.sleep(3)
        assert heard_by(rig) == ["audio", FINISH]
        rig.ear.tell(
            SpeechOver(900.0), Heard("so", is_final=True, start_offset_ms=100.0, end_offset_ms=900.0)
        )
        await rig.ended()


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logs("gateway", "DEBUG", stream=stream)
    yield stream
    structlog.reset_defaults()


async def test_nothing_that_was_said_is_logged(log_lines: io.StringIO) -> None:
    secrets = ("SECRETTYPED", "SECRETSPOKEN", "SECRETREPLY", "SECRETFAULT")
    model = ChatModelDouble("SECRETREPLY one. ", "SECRETREPLY two.")
    async with in_session(Services(model=model)) as rig:
        rig.session.take_text("SECRETTYPED")
        await rig.ended(1)
        await rig.hear(50)
        rig.person_says("SECRETSPOKEN", 100.0, 900.0)
        await rig.ended(2)
        model.script = (ValueError("SECRETFAULT"),)  # type: ignore[assignment]
        rig.session.take_text("SECRETTYPED")
        rig.ear.fail(Fault.internal("ASR_BROKEN", "SECRETFAULT"))
        await rig.ended(3)
    lines = [json.loads(line) for line in log_lines.getvalue().splitlines()]
    assert [line["event"] for line in lines].count("reply.ended") == 3
    assert all(line["session_id"] == "s1" for line in lines if line["event"] == "reply.ended")
    assert not [secret for secret in secrets if secret in log_lines.getvalue()]
