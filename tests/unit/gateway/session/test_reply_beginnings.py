"""How a reply begins: the chat model is asked at once, and nothing of the reply is told before the turn is stored."""

import asyncio
from collections.abc import Sequence

import pytest

from parley_gateway import conversation as log
from parley_gateway.adapters.memory_conversations import MemoryConversations
from parley_gateway.session import outputs
from support.session_rig import Services, in_session, session_config
from support.session_services import ChatModelDouble, TextToSpeechDouble


class SlowStore(MemoryConversations):
    """Takes a second for everything."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[tuple[str, ...]] = []

    async def append(
        self, conversation_id: str, fence: int, events: Sequence[log.Event], *, late: bool = False
    ) -> None:
        await asyncio.sleep(1)
        await super().append(conversation_id, fence, events, late=late)
        self.appended.append(tuple(type(event).__name__ for event in events))


@pytest.mark.parametrize("wants_audio", [True, False])
async def test_the_chat_model_is_asked_while_the_turn_is_being_stored_and_nothing_is_told_before(
    wants_audio: bool,
) -> None:
    store = SlowStore()
    async with in_session(Services(store=store), session_config(wants_audio=wants_audio)) as rig:
        rig.session.take_text("hello")
        await asyncio.sleep(0.5)
        assert [message.text for message in rig.services.model.requests[0].messages] == ["hello"]
        assert not rig.of(outputs.TurnCommittedOutput)
        assert not rig.of(outputs.ReplyText)
        await rig.ended()
    assert store.appended[:2] == [("SessionOpened",), ("TurnCommitted", "ReplyStarted")]


async def test_the_chat_model_is_asked_while_the_synthesis_is_being_opened() -> None:
    async with in_session(Services(voice=TextToSpeechDouble(open_s=1.0))) as rig:
        rig.session.take_text("hello")
        await asyncio.sleep(0.5)
        assert rig.services.model.running_count == 1
        await rig.ended()


async def test_a_person_who_leaves_while_the_turn_is_being_stored_leaves_nothing_running() -> None:
    services = Services(store=SlowStore(), model=ChatModelDouble(*["word after word, "] * 200))
    async with in_session(services) as rig:
        rig.session.take_text("hello")
        await asyncio.sleep(0.5)
    assert (services.model.running_count, services.voice.running_count) == (0, 0)


async def test_what_was_never_told_counts_as_not_read() -> None:
    async with in_session(Services(store=SlowStore()), session_config(wants_audio=False)) as rig:
        rig.session.take_text("hello")
        await asyncio.sleep(0.5)
        rig.session.take_interrupt()
        assert (await rig.ended()).heard_text == ""


async def test_a_synthesis_stays_open_until_its_text_is_ended() -> None:
    services = Services(model=ChatModelDouble("Hi."), voice=TextToSpeechDouble(end_s=5.0))
    async with in_session(services) as rig:
        rig.session.take_text("hello")
        assert (await rig.ended()).outcome is log.ReplyOutcome.COMPLETED
    assert services.voice.whole_count == 1


async def test_a_reply_that_is_stopped_while_the_synthesis_is_being_opened_is_no_failure() -> None:
    async with in_session(Services(voice=TextToSpeechDouble(open_s=0.5))) as rig:
        rig.session.take_text("hello")
        await asyncio.sleep(0.499)
        rig.session.take_interrupt()
        assert (await rig.ended()).outcome is log.ReplyOutcome.INTERRUPTED
        await asyncio.sleep(1)
    assert not rig.of(outputs.ErrorOutput)
