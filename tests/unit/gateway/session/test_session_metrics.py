"""What the metrics learn of turns, replies, barge-ins and playback."""

import asyncio

import pytest

from parley_gateway.metrics import TurnOutcome
from parley_gateway.ports import Heard, SpeechBegan
from parley_gateway.session import outputs
from parley_gateway.turns.policy import TurnDetection, TurnPolicy
from parley_servicekit.faults import Fault
from support.session_rig import Rig, Services, in_session, session_config
from support.session_services import ChatModelDouble, TextToSpeechDouble

LONG = ("one two three four five six seven eight nine ten. ",) * 10
GONE = Fault.unavailable("LLM_UNAVAILABLE", "away")


def turns(services: Services) -> dict[str, float]:
    counts = {each.value: services.counted("turns_total", outcome=each.value) for each in TurnOutcome}
    return {outcome: count for outcome, count in counts.items() if count}


def barge_ins(services: Services) -> dict[str, float]:
    causes = ("speech", "text", "interrupt", "push_to_talk")
    counts = {cause: services.counted("barge_ins_total", cause=cause) for cause in causes}
    return {cause: count for cause, count in counts.items() if count}


async def ask_aloud(rig: Rig, text: str = "hello") -> None:
    await rig.hear(50)
    rig.person_says(text, 0.0, 400.0)


async def test_a_spoken_turn_counts_with_five_stages_that_sum_to_voice_to_voice() -> None:
    services = Services(model=ChatModelDouble(0.2, "Yes."), voice=TextToSpeechDouble(pause_s=0.1))
    async with in_session(services) as rig:
        await ask_aloud(rig)
        ended = await rig.ended()
    assert turns(services) == {"answered": 1}
    assert services.counted("replies_total", outcome="completed") == 1
    assert services.counted("voice_to_voice_seconds_count") == 1
    assert ended.latency is not None
    stages = {
        stage: services.counted("stage_seconds_sum", stage=stage) * 1000
        for stage in (
            "endpointing",
            "asr.final",
            "llm.first_token",
            "tts.first_audio",
            "playback.first_audio",
        )
    }
    assert stages == pytest.approx(ended.latency.stages_ms())
    assert stages["llm.first_token"] == pytest.approx(200, abs=1)
    assert stages["tts.first_audio"] == pytest.approx(100, abs=1)
    assert services.counted("voice_to_voice_seconds_sum") * 1000 == pytest.approx(sum(stages.values()))
    assert services.counted("heard_ratio_sum") == services.counted("heard_ratio_count") == 1
    assert barge_ins(services) == {}


async def test_a_typed_turn_is_no_voice_to_voice() -> None:
    async with in_session() as rig:
        rig.session.take_text("hello")
        await rig.ended()
    assert turns(rig.services) == {"answered": 1}
    assert rig.services.counted("voice_to_voice_seconds_count") == 0
    assert rig.services.counted("stage_seconds_count", stage="tts.first_audio") == 0


async def test_speech_over_a_reply_is_a_barge_in_and_the_turn_was_answered() -> None:
    async with in_session(Services(model=ChatModelDouble(*LONG))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio, count=10)
        rig.ear.tell(SpeechBegan(0.0))
        await rig.ended()
    assert barge_ins(rig.services) == {"speech": 1}
    assert turns(rig.services) == {"answered": 1}
    assert rig.services.counted("replies_total", outcome="interrupted") == 1


@pytest.mark.parametrize(("request_", "cause"), [("interrupt", "interrupt"), ("text", "text")])
async def test_what_a_person_asks_for_is_the_cause_of_a_barge_in(request_: str, cause: str) -> None:
    async with in_session(Services(model=ChatModelDouble(*LONG))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio, count=10)
        if request_ == "text":
            rig.session.take_text("something else")
        else:
            rig.session.take_interrupt()
        await rig.ended()
        assert barge_ins(rig.services) == {cause: 1}


async def test_push_to_talk_is_the_cause_of_a_barge_in() -> None:
    config = session_config(TurnPolicy(detection=TurnDetection.PUSH_TO_TALK))
    async with in_session(Services(model=ChatModelDouble(*LONG)), config) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio, count=10)
        rig.session.take_start_of_turn()
        await rig.ended()
        assert barge_ins(rig.services) == {"push_to_talk": 1}


async def test_a_person_who_leaves_does_not_barge_in() -> None:
    async with in_session(Services(model=ChatModelDouble(*LONG))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio, count=10)
        rig.session.end()
        await rig.ended()
    assert barge_ins(rig.services) == {}
    assert turns(rig.services) == {"answered": 1}


async def test_who_goes_on_before_anything_is_heard_supersedes_the_turn() -> None:
    async with in_session(Services(model=ChatModelDouble(3.0, "yes."))) as rig:
        rig.person_says("what is", 0.0, 400.0)
        await rig.until(outputs.ReplyStartedOutput)
        rig.person_says("the time", 600.0, 1000.0)
        await rig.ended(2)
    assert turns(rig.services) == {"superseded": 1, "answered": 1}
    assert barge_ins(rig.services) == {}


async def test_a_turn_that_is_stopped_before_anything_is_heard_is_cancelled_and_no_barge_in() -> None:
    async with in_session(Services(model=ChatModelDouble(3.0, "yes."))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyStartedOutput)
        rig.session.take_interrupt()
        await rig.ended()
    assert turns(rig.services) == {"cancelled": 1}
    assert barge_ins(rig.services) == {}
    assert rig.services.counted("heard_ratio_count") == 0


@pytest.mark.parametrize("script", [(GONE,), ("one, ", 1.0, GONE)], ids=["before", "after the first sound"])
async def test_a_turn_whose_reply_fails_is_failed(script: tuple[str | float | Fault, ...]) -> None:
    async with in_session(Services(model=ChatModelDouble(*script))) as rig:
        rig.session.take_text("hello")
        await rig.ended()
    assert turns(rig.services) == {"failed": 1}
    assert rig.services.counted("replies_total", outcome="failed") == 1


async def test_in_a_text_only_conversation_reading_is_hearing() -> None:
    async with in_session(
        Services(model=ChatModelDouble("one, ", 9.0, "two")), session_config(wants_audio=False)
    ) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyText)
        rig.session.take_interrupt()
        await rig.ended()
    assert turns(rig.services) == {"answered": 1}
    assert barge_ins(rig.services) == {"interrupt": 1}
    assert rig.services.counted("heard_ratio_count") == 0, "nothing could be heard"


async def test_the_heard_ratio_is_the_share_of_what_was_written() -> None:
    async with in_session(Services(model=ChatModelDouble("aaaa bbbb. ", "cccc dddd."))) as rig:
        rig.session.take_text("hello")
        # The first phrase lasts 550 ms, and in the middle of the second one nothing more of it is known.
        await rig.until(outputs.ReplyAudio, lambda each: each.audio.start_offset_ms >= 550.0)
        await asyncio.sleep(0.3)
        rig.session.take_interrupt()
        ended = await rig.ended()
    assert ended.heard_text == "aaaa bbbb."
    assert rig.services.counted("heard_ratio_sum") == pytest.approx(0.5)


async def test_audio_that_comes_too_late_is_an_underrun_of_that_length() -> None:
    services = Services(
        model=ChatModelDouble("one two. ", "three four."), voice=TextToSpeechDouble(pause_s=2.0)
    )
    async with in_session(services) as rig:
        rig.session.take_text("hello")
        await rig.ended()
    assert services.counted("playback_underruns_total") == 1
    assert services.counted("playback_underrun_seconds_count") == 1
    # The second phrase comes 2 s after all of the first one left, which plays 300 ms longer.
    assert services.counted("playback_underrun_seconds_sum") == pytest.approx(1.7, abs=0.05)


async def test_underruns_that_a_client_reports_count_but_not_more_than_there_can_be() -> None:
    async with in_session() as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio, count=5)
        rig.session.take_playback(1, 100.0, 2)
        rig.session.take_playback(1, 100.0, 1)
        await rig.ended()
        assert rig.services.counted("playback_underruns_total") == 2
        rig.session.take_text("again")
        await rig.until(outputs.ReplyAudio, lambda each: each.reply_id == 2, count=5)
        rig.session.take_playback(2, 100.0, 2**31 - 1)
        await rig.ended(2)
        pieces = [each for each in rig.of(outputs.ReplyAudio) if each.reply_id == 2]
        assert rig.services.counted("playback_underruns_total") == 2 + len(pieces)


async def test_a_partial_transcript_is_no_turn() -> None:
    async with in_session() as rig:
        rig.ear.tell(SpeechBegan(0.0), Heard("hel", is_final=False))
        await rig.until(outputs.TranscriptOutput)
    assert turns(rig.services) == {}
