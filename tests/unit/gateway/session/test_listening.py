"""What the recogniser gets, and in which order, whether its stream takes audio at once or has to be waited for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from parley_gateway.ports import (
    Audio,
    AudioEncoding,
    AudioFormat,
    ListeningRequest,
    RecognitionEvent,
    SpeechBegan,
    SpeechHalted,
    SpeechOver,
)
from parley_gateway.session.listening import Listening
from parley_servicekit.faults import Fault
from support.session_services import DISCARD, FINISH, RecognitionDouble, SpeechToTextDouble

FORMAT = AudioFormat(AudioEncoding.PCM_S16LE, 16_000, 1)


def audio(index: int) -> Audio:
    return Audio((bytes([index]) * 640,), index * 20.0, 20.0)


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Listening, RecognitionDouble]]:
    async def take(_event: RecognitionEvent) -> None:
        pass

    opened = asyncio.Event()

    async def on_state(_fault: Fault | None) -> None:
        opened.set()

    service = SpeechToTextDouble()
    ear = Listening(service, ListeningRequest(FORMAT), take, on_state)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(ear.run(), name="listening")
        await opened.wait()
        yield ear, service.stream
        running.cancel()


async def test_audio_leaves_without_a_detour_where_nothing_has_to_wait() -> None:
    async with listening() as (ear, stream):
        for index in range(3):
            await ear.hear(audio(index))
            assert stream.received == [audio(each) for each in range(index + 1)]


async def test_audio_may_wait_but_not_in_a_pause_that_may_end_the_turn() -> None:
    async with listening() as (ear, stream):
        for index, event in enumerate(
            (SpeechBegan(0.0), SpeechHalted(20.0), SpeechBegan(40.0), SpeechHalted(60.0), SpeechOver(80.0))
        ):
            stream.tell(event)
            for _ in range(5):
                await asyncio.sleep(0)
            await ear.hear(audio(index))
        assert stream.at_once == [audio(1), audio(3)]


@pytest.mark.parametrize("is_slow", [False, True])
async def test_audio_and_requests_keep_their_order(is_slow: bool) -> None:
    async with listening() as (ear, stream):
        stream.is_slow = is_slow
        await ear.hear(audio(0))
        ear.finish_utterance()
        await ear.hear(audio(1))
        await ear.hear(audio(2))
        ear.discard_utterance()
        await ear.hear(audio(3))
        while len(stream.received) < 6:
            await asyncio.sleep(0)
        await ear.hear(audio(4))
        while len(stream.received) < 7:
            await asyncio.sleep(0)
        assert stream.received == [audio(0), FINISH, audio(1), audio(2), DISCARD, audio(3), audio(4)]


async def test_audio_waits_behind_audio_that_is_being_sent() -> None:
    async with listening() as (ear, stream):
        stream.is_slow = True
        await ear.hear(audio(0))
        stream.is_slow = False
        await ear.hear(audio(1))
        while len(stream.received) < 2:
            await asyncio.sleep(0)
        assert stream.received == [audio(0), audio(1)]
