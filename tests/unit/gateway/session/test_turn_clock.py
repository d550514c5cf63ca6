"""`TurnClock`: wakes the turn taker when something is due, not before, not again and again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parley_gateway.session.turn_clock import TurnClock
from parley_gateway.turns import events
from parley_gateway.turns.policy import TurnPolicy
from parley_gateway.turns.turn_taker import TurnTaker


class Fed:
    def __init__(self) -> None:
        self.turn_taker = TurnTaker(TurnPolicy())
        self.events: list[events.Event] = []
        self.clock = TurnClock(asyncio.get_running_loop().time, self.turn_taker, self.feed)

    def feed(self, event: events.Event) -> None:
        self.events.append(event)
        self.turn_taker.handle(event)
        self.clock.reschedule()


@asynccontextmanager
async def running() -> AsyncIterator[Fed]:
    fed = Fed()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(fed.clock.run(), name="clock")
        await asyncio.sleep(0)
        yield fed
        task.cancel()


async def test_nothing_is_due_while_nobody_does_anything() -> None:
    async with running() as fed:
        await asyncio.sleep(3600)
    assert fed.events == []


async def test_a_reply_that_never_comes_is_noticed_once_at_its_deadline() -> None:
    async with running() as fed:
        fed.feed(events.TextReceived(fed.clock.now(), "hello"))
        await asyncio.sleep(4.9)
        assert len(fed.events) == 1
        await asyncio.sleep(3600)
    assert [type(event) for event in fed.events[1:]] == [events.TimeAdvanced]
    assert 5000 <= fed.events[1].at_ms <= 5010


async def test_audio_that_stops_in_the_middle_of_speech_is_noticed_once() -> None:
    async with running() as fed:
        fed.clock.person_speaks(True)
        for _ in range(100):
            await asyncio.sleep(0.02)
            fed.clock.audio_came()
        assert not [event for event in fed.events if isinstance(event, events.InputAudioStopped)]
        await asyncio.sleep(60)
    stopped = [event for event in fed.events if isinstance(event, events.InputAudioStopped)]
    assert [round(event.at_ms, -2) for event in stopped] == [4000]


async def test_audio_that_stops_while_nobody_speaks_is_nothing() -> None:
    async with running() as fed:
        fed.clock.person_speaks(True)
        fed.clock.person_speaks(False)
        await asyncio.sleep(60)
    assert not [event for event in fed.events if isinstance(event, events.InputAudioStopped)]
