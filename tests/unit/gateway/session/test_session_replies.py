"""Replies of a `Session`: their order, their end, whoever ends them, and what is stored when."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from parley_gateway import conversation as log
from parley_gateway import faults
from parley_gateway.adapters.memory_conversations import MemoryConversations
from parley_gateway.session import outputs
from parley_servicekit.faults import Fault
from support.session_rig import OWNER, Rig, Services, in_session, session_config
from support.session_services import CHARACTER_MS, ChatModelDouble, SpeechToTextDouble, TextToSpeechDouble

LONG = ("word after word, ",) * 20
LLM_GONE = Fault.unavailable("LLM_UNAVAILABLE", "gone")
TTS_GONE = Fault.unavailable("TTS_UNAVAILABLE", "gone")
OF_A_REPLY = outputs.ReplyText | outputs.ReplyPhrase | outputs.ReplyAudio


def assert_well_formed(rig: Rig) -> None:
    """Ready first; one end for every start; nothing of a reply before its start or after its end."""
    assert isinstance(rig.outputs[0], outputs.Ready)
    current, seen = 0, 0
    for output in rig.outputs:
        if isinstance(output, outputs.ReplyStartedOutput):
            assert current == 0, "a reply began before the other one's end"
            assert output.reply_id > seen, "reply ids only grow"
            current = seen = output.reply_id
        elif isinstance(output, outputs.ReplyEndedOutput):
            assert output.reply_id == current
            current = 0
        elif isinstance(output, OF_A_REPLY):
            assert output.reply_id == current
    assert current == 0, "a reply has no end"


async def test_a_typed_turn_is_answered_in_order_and_remembered() -> None:
    async with in_session() as rig:
        rig.session.take_text("hello")
        ended = await rig.ended()
    kinds = [type(output) for output in rig.outputs]
    order = [
        outputs.Ready,
        outputs.TurnCommittedOutput,
        outputs.ReplyStartedOutput,
        outputs.ReplyText,
        outputs.ReplyAudio,
        outputs.ReplyEndedOutput,
    ]
    assert [kinds.index(kind) for kind in order] == sorted(kinds.index(kind) for kind in order)
    assert_well_formed(rig)
    assert ended.outcome is log.ReplyOutcome.COMPLETED
    assert ended.heard_text == "Good morning. How are you?"
    assert (ended.prompt_token_count, ended.completion_token_count) == (7, 2)
    assert ended.audio_ms == ended.played_ms == len("Good morning. How are you?") * CHARACTER_MS
    assert ended.latency is not None
    assert ended.latency.voice_to_voice_ms >= 0
    assert log.messages(await rig.events()) == [
        log.Message(log.Role.USER, "hello"),
        log.Message(log.Role.ASSISTANT, "Good morning. How are you?"),
    ]


async def test_the_next_turn_knows_what_was_said_before() -> None:
    async with in_session() as rig:
        rig.session.take_text("hello")
        await rig.ended(1)
        rig.session.take_text("and now?")
        await rig.ended(2)
    assert [message.text for message in rig.services.model.requests[1].messages] == [
        "hello",
        "Good morning. How are you?",
        "and now?",
    ]
    assert_well_formed(rig)


async def test_audio_is_never_more_than_300_ms_ahead() -> None:
    async with in_session() as rig:
        rig.session.take_text("hello")
        first = await rig.until(outputs.ReplyAudio)
        began_s = asyncio.get_running_loop().time()
        sent_ms = first.audio.duration_ms
        for count in range(2, 20):
            audio = (await rig.until(outputs.ReplyAudio, count=count)).audio
            sent_ms += audio.duration_ms
            assert sent_ms - (asyncio.get_running_loop().time() - began_s) * 1000 <= 300.01
        await rig.ended()


@pytest.mark.parametrize(
    ("model", "voice", "seen"),
    [
        (ChatModelDouble(3.0, "too late"), TextToSpeechDouble(), outputs.ReplyStartedOutput),
        (ChatModelDouble("one, ", 3.0, "two"), TextToSpeechDouble(), outputs.ReplyText),
        (ChatModelDouble("one, ", "two"), TextToSpeechDouble(pause_s=3.0), outputs.ReplyText),
        (ChatModelDouble(*LONG), TextToSpeechDouble(), outputs.ReplyAudio),
    ],
    ids=["before the first token", "in the middle of writing", "in synthesis", "in pacing"],
)
async def test_an_interrupt_ends_a_reply_wherever_it_is(
    model: ChatModelDouble, voice: TextToSpeechDouble, seen: type[outputs.Output]
) -> None:
    async with in_session(Services(model=model, voice=voice)) as rig:
        rig.session.take_text("hello")
        await rig.until(seen)
        rig.session.take_interrupt()
        ended = await rig.ended()
        assert (model.running_count, voice.running_count) == (0, 0)
        count = len(rig.outputs)
        await asyncio.sleep(10)
        assert len(rig.outputs) == count, "something followed"
    assert ended.outcome is log.ReplyOutcome.INTERRUPTED
    assert_well_formed(rig)


async def test_upstream_is_cancelled_although_the_store_is_slow() -> None:
    class SlowStore(MemoryConversations):
        async def append(
            self, conversation_id: str, fence: int, events: Sequence[log.Event], *, late: bool = False
        ) -> None:
            if isinstance(events[0], log.TurnCommitted) and events[0].turn_id == "2":
                await asyncio.sleep(5)
            await super().append(conversation_id, fence, events, late=late)

    services = Services(model=ChatModelDouble(*LONG), store=SlowStore())
    async with in_session(services) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio)
        rig.session.take_text("stop it")
        rig.session.take_interrupt()
        await asyncio.sleep(0.001)
        assert (services.model.running_count, services.voice.running_count) == (0, 0)
        await rig.ended(2)
    assert_well_formed(rig)


async def test_what_was_heard_follows_the_clients_report() -> None:
    async with in_session(Services(model=ChatModelDouble("one two three four five six seven."))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio, count=20)
        rig.session.take_playback(1, 400.0)
        rig.session.take_interrupt()
        ended = await rig.ended()
    assert ended.played_ms == 400.0
    assert ended.heard_text in ("one two", "")
    stored = [event for event in await rig.events() if isinstance(event, log.ReplyEnded)]
    assert [(event.heard_text, event.played_ms) for event in stored] == [(ended.heard_text, 400)]


async def test_a_report_of_more_than_was_sent_counts_as_what_was_sent() -> None:
    async with in_session(Services(model=ChatModelDouble(*LONG))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio, count=3)
        rig.session.take_playback(1, 1e9)
        await asyncio.sleep(0.001)
        rig.session.take_interrupt()
        ended = await rig.ended()
    assert ended.outcome is log.ReplyOutcome.INTERRUPTED
    assert ended.played_ms <= ended.audio_ms


async def test_a_reply_whose_last_report_was_lost_is_completed_with_all_of_its_text() -> None:
    async with in_session() as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio, count=5)
        rig.session.take_playback(1, 100.0)
        ended = await rig.ended()
    assert ended.outcome is log.ReplyOutcome.COMPLETED
    assert ended.heard_text == "Good morning. How are you?"


async def test_a_report_about_no_reply_changes_nothing() -> None:
    async with in_session() as rig:
        rig.session.take_playback(99, 1000.0)
        rig.session.take_text("hello")
        assert (await rig.ended()).outcome is log.ReplyOutcome.COMPLETED


@pytest.mark.parametrize(
    ("services", "reason"),
    [
        (Services(model=ChatModelDouble(LLM_GONE)), "LLM_UNAVAILABLE"),
        (Services(model=ChatModelDouble("one, ", 1.0, LLM_GONE)), "LLM_UNAVAILABLE"),
        (Services(voice=TextToSpeechDouble(fault=TTS_GONE)), "TTS_UNAVAILABLE"),
        (Services(voice=TextToSpeechDouble(fault=TTS_GONE, fault_index=1)), "TTS_UNAVAILABLE"),
        (Services(model=ChatModelDouble(1e6)), "REPLY_TIMEOUT"),
        (Services(model=ChatModelDouble("one", 1e6)), "REPLY_STALLED"),
        (Services(model=ChatModelDouble("")), "REPLY_EMPTY"),
        (Services(model=ChatModelDouble("x" * 50_000)), "REPLY_TOO_LONG"),
    ],
    ids=[
        "llm",
        "llm in the middle",
        "tts",
        "tts in the middle",
        "llm hangs",
        "llm hangs later",
        "nothing",
        "too much",
    ],
)
async def test_a_reply_that_fails_is_one_end_and_one_typed_error(services: Services, reason: str) -> None:
    async with in_session(services) as rig:
        rig.session.take_text("hello")
        ended = await rig.ended()
        error = await rig.until(outputs.ErrorOutput)
        assert (services.model.running_count, services.voice.running_count) == (0, 0)
        services.model.script, services.voice.fault = ("better",), None
        rig.session.take_text("again")
        assert (await rig.ended(2)).outcome is log.ReplyOutcome.COMPLETED
    assert ended.outcome is log.ReplyOutcome.FAILED
    assert (error.fault.reason, error.reply_id, error.turn_id) == (reason, 1, "1")
    assert_well_formed(rig)


async def test_a_phrase_is_stored_before_its_audio_leaves() -> None:
    stored: list[int] = []

    class Watched(MemoryConversations):
        async def append(
            self, conversation_id: str, fence: int, events: Sequence[log.Event], *, late: bool = False
        ) -> None:
            await asyncio.sleep(0.2)
            await super().append(conversation_id, fence, events, late=late)
            stored.extend(event.index for event in events if isinstance(event, log.PhraseSpoken))

    async with in_session(Services(store=Watched())) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio)
        assert set(stored) == {0}
        second_from_ms = len("Good morning. ") * CHARACTER_MS
        await rig.until(outputs.ReplyAudio, lambda each: each.audio.start_offset_ms >= second_from_ms)
        assert set(stored) == {0, 1}
        await rig.ended()


async def test_a_person_who_leaves_in_the_middle_of_a_reply_gets_its_end() -> None:
    async with in_session(Services(model=ChatModelDouble(*LONG))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio, count=10)
        rig.session.end()
        ended = await rig.ended()
    assert ended.outcome is log.ReplyOutcome.INTERRUPTED
    assert_well_formed(rig)
    assert any(isinstance(event, log.ReplyEnded) for event in await rig.events())


async def test_a_client_that_vanished_without_reading_holds_nothing_up() -> None:
    async with in_session(Services(model=ChatModelDouble(*LONG)), reads=False) as rig:
        for _ in range(400):
            rig.session.take_text("hello")
        await asyncio.sleep(60)
    events = await rig.events()
    started = {event.reply_id for event in events if isinstance(event, log.ReplyStarted)}
    assert started == {event.reply_id for event in events if isinstance(event, log.ReplyEnded)}
    assert len(started) > 100


async def test_a_client_that_does_not_read_is_no_longer_read_from() -> None:
    async with in_session(reads=False) as rig:

        async def flood() -> None:
            for _ in range(10_000):
                await rig.session.wait_for_room()
                rig.session.take_text("hello")
            raise AssertionError("all of it was taken in")

        async with asyncio.TaskGroup() as tasks:
            flooding = tasks.create_task(flood(), name="flood")
            await asyncio.sleep(30)
            flooding.cancel()


@pytest.mark.parametrize("seen", [outputs.ReplyStartedOutput, outputs.ReplyAudio])
async def test_a_session_that_is_taken_over_ends_typed_and_its_reply_too(seen: type[outputs.Output]) -> None:
    services = Services(model=ChatModelDouble("one. ", 1.0, *LONG))
    async with in_session(services) as rig:
        rig.session.take_text("hello")
        await rig.until(seen)
        await services.store.open(rig.conversation_id, OWNER)
        await rig.ended()
        await asyncio.sleep(1)
        assert rig.session.fault is not None
        assert rig.session.fault.reason == faults.TAKEN_OVER
    assert_well_formed(rig)
    assert services.model.running_count == services.voice.running_count == 0


async def test_what_cannot_be_stored_is_told_once_and_the_conversation_goes_on() -> None:
    class Away(MemoryConversations):
        async def append(
            self, conversation_id: str, fence: int, events: Sequence[log.Event], *, late: bool = False
        ) -> None:
            raise faults.store_unavailable("test")

    async with in_session(Services(store=Away())) as rig:
        for count in (1, 2):
            rig.session.take_text("hello")
            assert (await rig.ended(count)).outcome is log.ReplyOutcome.COMPLETED
    assert [each.fault.reason for each in rig.of(outputs.ErrorOutput)] == [faults.STORE_UNAVAILABLE]
    assert len(rig.services.model.requests[1].messages) == 3
    assert_well_formed(rig)


async def test_text_only_replies_are_over_when_they_are_written() -> None:
    async with in_session(config=session_config(wants_audio=False)) as rig:
        rig.session.take_text("hello")
        ended = await rig.ended()
    assert ended.heard_text == "Good morning. How are you?"
    assert not rig.of(outputs.ReplyAudio)
    assert not rig.services.voice.requests
    assert_well_formed(rig)


async def test_draining_ends_an_idle_session_at_once() -> None:
    async with in_session() as rig:
        rig.session.drain(5000)
        await rig.until(outputs.DrainingOutput)
        await asyncio.sleep(0.001)
        assert rig.session.fault is not None
        assert rig.session.fault.reason == "DRAINING"


async def test_draining_lets_a_reply_finish() -> None:
    async with in_session() as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio)
        rig.session.drain(5000)
        assert (await rig.ended()).outcome is log.ReplyOutcome.COMPLETED
        await asyncio.sleep(0.001)
        assert rig.session.fault is not None
    assert_well_formed(rig)


async def test_draining_lets_a_person_finish_also_when_nothing_was_said_after_all() -> None:
    async with in_session() as rig:
        await rig.hear(20)
        rig.person_says("", 0.0, 100.0)
        rig.session.drain(5000)
        await rig.until(outputs.TranscriptOutput)
        await asyncio.sleep(0.001)
        assert rig.session.fault is not None


async def test_ready_comes_first_whatever_happens_before_it() -> None:
    class Away(MemoryConversations):
        async def append(
            self, conversation_id: str, fence: int, events: Sequence[log.Event], *, late: bool = False
        ) -> None:
            raise faults.store_unavailable("test")

    services = Services(store=Away(), ears=SpeechToTextDouble(TTS_GONE))
    async with in_session(services) as rig:
        rig.session.take_text("hello")
        await rig.ended()
    assert_well_formed(rig)


async def test_a_new_config_holds_from_the_next_turn_on() -> None:
    async with in_session(Services(model=ChatModelDouble(0.1, "yes"))) as rig:
        rig.session.take_text("hello")
        rig.session.take_config(session_config(wants_audio=True))
        await rig.ended()
    assert rig.services.model.requests[0].system_prompt == "be brief"


@pytest.mark.parametrize(("text", "reason"), [("  \n", "TEXT_EMPTY"), ("ä" * 9000, "TEXT_TOO_LONG")])
async def test_a_typed_turn_must_be_some_text_of_16_kib_at_most(text: str, reason: str) -> None:
    async with in_session() as rig:
        with pytest.raises(Fault, match=reason):
            rig.session.take_text(text)
    assert not rig.of(outputs.TurnCommittedOutput)


async def test_a_continued_conversation_goes_on_counting() -> None:
    services = Services()
    async with in_session(services) as rig:
        rig.session.take_text("hello")
        await rig.ended()
    opened = await services.store.open(rig.conversation_id, OWNER)
    assert log.next_reply_id(opened.events) == 2
    assert log.turn_count(opened.events) == 1
    assert opened.conversation.update_time <= datetime.now(UTC)
