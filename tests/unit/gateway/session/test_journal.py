"""`Journal`: what the chat model reads is bounded, and numbers go on where the conversation stopped."""

from datetime import UTC, datetime

from parley_gateway.adapters.memory_conversations import MemoryConversations
from parley_gateway.conversation import Conversation, Event, Role, TurnCommitted, TurnSource
from parley_gateway.ports import OpenedConversation
from parley_gateway.session.journal import Journal

NOW = datetime.now(UTC)


def turn(turn_id: str, text: str) -> TurnCommitted:
    return TurnCommitted(turn_id, 1, text, TurnSource.TYPED, NOW, 0)


def journal(*events: Event) -> Journal:
    return Journal(
        MemoryConversations(), OpenedConversation(Conversation("c1", "local", NOW, NOW), events, 1)
    )


def test_a_long_conversation_is_cut_at_its_beginning() -> None:
    messages = journal(*(turn(str(index), f"turn {index}") for index in range(2000))).messages()
    assert len(messages) == 400
    assert (messages[-1].role, messages[-1].text) == (Role.USER, "turn 1999")


def test_much_text_is_cut_to_what_a_request_can_hold() -> None:
    messages = journal(*(turn(str(index), "ü" * 15_000) for index in range(300))).messages()
    assert sum(len(message.text.encode()) for message in messages) <= 512 * 1024
    assert messages[-1].text == "ü" * 15_000


def test_one_huge_text_keeps_its_end() -> None:
    text = journal(turn("1", "€" * 20_000 + "?")).messages()[0].text
    assert len(text.encode()) <= 32 * 1024
    assert text.endswith("€?")


def test_numbers_go_on_and_foreign_ones_are_passed_over() -> None:
    assert journal().next_turn_id == 1
    assert journal(turn("7", "a"), turn("imported-12", "b")).next_turn_id == 8
