"""Conversations and events for tests."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from parley_gateway.conversation import (
    Conversation,
    Event,
    PhraseSpoken,
    PlaybackMarked,
    ReplyEnded,
    ReplyOutcome,
    ReplyStarted,
    SessionOpened,
    TurnCommitted,
    TurnSource,
)
from parley_servicekit.faults import Fault

BEGINNING = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


def conversation(owner: str, *, seconds: float = 0, title: str = "", **more: str) -> Conversation:
    """A new one, begun so many seconds after BEGINNING."""
    time = BEGINNING + timedelta(seconds=seconds)
    return Conversation(uuid.uuid4().hex, owner, time, time, title=title, **more)


def turn(number: int, text: str = "", revision: int = 1) -> TurnCommitted:
    """A user turn."""
    return TurnCommitted(
        f"t{number}",
        revision,
        text or f"question {number}",
        TurnSource.SPOKEN,
        BEGINNING + timedelta(seconds=10 * number),
        10_000 * number,
    )


def exchange(number: int) -> list[Event]:
    """A question and a reply that was heard to its end."""
    return [
        turn(number),
        ReplyStarted(
            number, f"t{number}", BEGINNING + timedelta(seconds=10 * number + 3), 10_000 * number + 3000
        ),
        PhraseSpoken(number, 0, f"Answer {number},", 0, 800, ((0, 0), (7, 400))),
        PlaybackMarked(number, 500),
        PhraseSpoken(number, 1, " and more.", 800, 700),
        ReplyEnded(number, ReplyOutcome.COMPLETED, f"Answer {number}, and more.", 1500),
    ]


def session(name: str = "s1") -> SessionOpened:
    """The beginning of a connection."""
    return SessionOpened(name, BEGINNING)


async def refusal(awaitable: Awaitable[object]) -> Fault:
    """The fault that it raises."""
    with pytest.raises(Fault) as raised:
        await awaitable
    return raised.value


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float = 15) -> None:
    """Wait until it holds; fail when it never does."""
    end = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < end, "it never came about"
        await asyncio.sleep(0.02)
