"""Spans of turns: one for each, whatever becomes of it, with the segments of its latency and nothing that was said."""

import asyncio
from dataclasses import replace

import pytest

from parley_gateway.ports import Heard, SpeechBegan, SpeechHalted, SpeechOver, UtteranceFailed
from parley_gateway.session import outputs
from parley_gateway.turns.policy import BargeIn, TurnPolicy
from parley_servicekit.faults import Fault
from support.recorded_traces import RecordedSpan, RecordedTraces
from support.session_rig import FRAME_MS, Rig, Services, in_session, session_config
from support.session_services import ChatModelDouble, TextToSpeechDouble

STAGES = ["endpointing", "asr.final", "llm.first_token", "tts.first_audio", "playback.first_audio"]
LLM_GONE = Fault.unavailable("LLM_UNAVAILABLE", "gone")
LONG = ("word after word, ",) * 20


async def speak(rig: Rig, text: str, *, start_ms: float = 0.0, end_ms: float = 200.0) -> None:
    """Audio in real time, and what a recogniser makes of it 600 ms later."""
    for _ in range(round((end_ms - start_ms) / FRAME_MS)):
        await rig.hear()
        await asyncio.sleep(FRAME_MS / 1000)
    rig.ear.tell(SpeechBegan(start_ms))
    await asyncio.sleep(0.6)
    rig.ear.tell(SpeechOver(end_ms))
    await asyncio.sleep(0.05)
    rig.ear.tell(Heard(text, is_final=True, start_offset_ms=start_ms, end_offset_ms=end_ms))


def turns(traces: RecordedTraces) -> list[RecordedSpan]:
    assert {span.name for span in traces.spans} <= {"turn"}
    traces.assert_all_ended_once()
    return traces.spans


async def test_a_spoken_turn_goes_from_its_first_sample_to_the_end_of_its_reply() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces)) as rig:
        await speak(rig, "hello")
        ended = await rig.ended()
    (turn,) = turns(traces)
    assert ended.latency is not None
    assert [name for name, _, _ in turn.children] == STAGES
    assert turn.start_ns is not None
    assert turn.end_ns is not None
    # The last speech sample came 180 ms after the first.
    assert turn.children[0][1] - turn.start_ns == pytest.approx(180e6, abs=1e6)
    for (_, _, end_ns), (_, start_ns, _) in zip(turn.children, turn.children[1:], strict=False):
        assert end_ns == start_ns
    for (_, start_ns, end_ns), length_ms in zip(
        turn.children, ended.latency.stages_ms().values(), strict=True
    ):
        assert end_ns - start_ns == pytest.approx(length_ms * 1e6, abs=2)
    assert turn.end_ns >= turn.children[-1][2] + ended.audio_ms * 1e6 - 1e6
    assert turn.attributes == {
        "session_id": "s1",
        "conversation_id": "c1",
        "turn_id": "1",
        "turn_revision": 1,
        "reply_id": 1,
        "source": "spoken",
        "outcome": "completed",
        "voice_to_voice_ms": round(ended.latency.voice_to_voice_ms, 3),
        "prompt_token_count": 7,
        "completion_token_count": 2,
        "audio_ms": round(ended.audio_ms),
        "played_ms": round(ended.played_ms),
    }
    assert turn.reason == ""


async def test_the_recogniser_is_told_once_while_the_person_speaks() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces)) as rig:
        await rig.hear()
        rig.ear.tell(SpeechBegan(0.0), SpeechHalted(20.0), SpeechBegan(40.0))
        await asyncio.sleep(0.1)
        await rig.hear()
        await asyncio.sleep(0.1)
        assert rig.ear.traceparents == [traces.spans[0].traceparent]
        rig.ear.tell(SpeechOver(200.0), Heard("hello", is_final=True))
        await rig.ended()
    assert len(turns(traces)) == 1


async def test_a_typed_turn_begins_when_it_arrives() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces)) as rig:
        rig.session.take_text("hello")
        await rig.ended()
    (turn,) = turns(traces)
    assert turn.attributes["source"] == "typed"
    assert turn.start_ns is not None
    assert turn.children[0][1] == pytest.approx(turn.start_ns, abs=1e6)
    assert not rig.ear.traceparents


async def test_a_revised_turn_is_two_spans() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces, model=ChatModelDouble(3.0, "yes"))) as rig:
        await speak(rig, "hello")
        await rig.until(outputs.ReplyStartedOutput)
        await speak(rig, "are you there", start_ms=200.0, end_ms=400.0)
        await rig.ended(2)
    first, second = turns(traces)
    assert (first.attributes["turn_revision"], second.attributes["turn_revision"]) == (1, 2)
    assert first.attributes["turn_id"] == second.attributes["turn_id"]
    assert (first.attributes["outcome"], first.attributes["interrupted_by"]) == ("interrupted", "superseded")
    assert [name for name, _, _ in first.children] == ["endpointing", "asr.final"]
    assert first.reason == ""


async def test_an_interrupted_turn_is_no_error() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces, model=ChatModelDouble(*LONG))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio)
        rig.session.take_interrupt()
        await rig.ended()
    (turn,) = turns(traces)
    assert (turn.attributes["outcome"], turn.attributes["interrupted_by"]) == ("interrupted", "request")
    assert turn.reason == ""
    assert [name for name, _, _ in turn.children] == STAGES


@pytest.mark.parametrize(
    ("model", "voice", "reason", "stages"),
    [
        (ChatModelDouble(LLM_GONE), TextToSpeechDouble(), "LLM_UNAVAILABLE", STAGES[:2]),
        (ChatModelDouble("one, ", LLM_GONE), TextToSpeechDouble(pause_s=1.0), "LLM_UNAVAILABLE", STAGES[:3]),
        (ChatModelDouble(60.0, "late"), TextToSpeechDouble(), "REPLY_TIMEOUT", STAGES[:2]),
    ],
)
async def test_a_failed_turn_has_its_reason_and_what_it_reached(
    model: ChatModelDouble, voice: TextToSpeechDouble, reason: str, stages: list[str]
) -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces, model=model, voice=voice)) as rig:
        rig.session.take_text("hello")
        await rig.ended()
    (turn,) = turns(traces)
    assert (turn.attributes["outcome"], turn.reason) == ("failed", reason)
    assert [name for name, _, _ in turn.children] == stages


async def test_speech_that_becomes_no_turn_is_a_span_without_parts() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces)) as rig:
        await speak(rig, "")
        await speak(rig, "hello", start_ms=200.0, end_ms=400.0)
        await rig.ended()
    cough, turn = turns(traces)
    assert cough.attributes == {"session_id": "s1", "conversation_id": "c1", "outcome": "not_committed"}
    assert not cough.children
    assert turn.attributes["outcome"] == "completed"
    assert rig.ear.traceparents == [cough.traceparent, turn.traceparent]


async def test_a_lost_utterance_is_an_error() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces)) as rig:
        rig.ear.tell(SpeechBegan(0.0), UtteranceFailed(Fault.unavailable("DECODING_FAILED", "lost")))
        await rig.until(outputs.ErrorOutput)
    (lost,) = turns(traces)
    assert (lost.attributes["outcome"], lost.reason) == ("failed", "DECODING_FAILED")


async def test_what_is_being_said_when_something_is_typed_is_not_the_typed_turn() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces)) as rig:
        rig.ear.tell(SpeechBegan(0.0))
        await rig.until(outputs.SpeechActivity)
        rig.session.take_text("hello")
        await rig.ended()
    spoken, typed = turns(traces)
    assert spoken.attributes["outcome"] == "not_committed"
    assert typed.attributes["source"] == "typed"


async def test_speech_that_is_ignored_does_not_become_the_next_turn() -> None:
    policy = TurnPolicy(barge_in=BargeIn.OFF)
    traces = RecordedTraces()
    services = Services(traces=traces, model=ChatModelDouble(*LONG))
    async with in_session(services, session_config(policy)) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio)
        rig.ear.tell(SpeechBegan(0.0))
        await rig.until(outputs.SpeechActivity)
        rig.session.take_interrupt()
        await rig.ended(1)
        rig.session.take_text("and now")
        await rig.until(outputs.ReplyStartedOutput, count=2)
        rig.session.take_interrupt()
        await rig.ended(2)
    told = {(span.attributes["outcome"], span.attributes.get("source")) for span in turns(traces)}
    assert told == {("interrupted", "typed"), ("not_committed", None)}


async def test_a_person_who_leaves_leaves_no_span_open() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces, model=ChatModelDouble(*LONG))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio)
        rig.ear.tell(SpeechBegan(0.0))
        await asyncio.sleep(0)
    outcomes = [span.attributes["outcome"] for span in turns(traces)]
    assert outcomes[0] == "interrupted"


async def test_the_clients_own_trace_is_linked_to() -> None:
    traces = RecordedTraces()
    config = replace(session_config(), traceparent="00-whatever")
    async with in_session(Services(traces=traces), config) as rig:
        rig.session.take_text("hello")
        await rig.ended()
    (turn,) = turns(traces)
    assert (turn.link, turn.parent) == ("00-whatever", "")


async def test_a_text_only_turn_has_the_segments_that_it_has() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces), session_config(wants_audio=False)) as rig:
        rig.session.take_text("hello")
        await rig.ended()
    (turn,) = turns(traces)
    assert [name for name, _, _ in turn.children] == STAGES[:3]
    assert "voice_to_voice_ms" not in turn.attributes


async def test_what_was_said_is_in_no_span() -> None:
    traces = RecordedTraces()
    async with in_session(Services(traces=traces)) as rig:
        await speak(rig, "pistachio zeppelin")
        await rig.ended()
    for text in ("pistachio", "zeppelin", "Good morning", "How are you"):
        assert text not in repr(turns(traces))
