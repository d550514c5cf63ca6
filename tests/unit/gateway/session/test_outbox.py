"""`Outbox`: order, the bound, silence, and the end."""

import asyncio
from collections.abc import Callable

import pytest

from parley_gateway.ports import Audio
from parley_gateway.session.outbox import Outbox
from parley_gateway.session.outputs import Output, Ready, ReplyAudio, ReplyStartedOutput, ReplyText

READY = Ready("c", "s", 0)


def opened() -> Outbox:
    outbox = Outbox()
    outbox.open(READY)
    return outbox


async def everything(outbox: Outbox) -> list[Output]:
    outbox.close()
    found = []
    while (output := await outbox.get()) is not None:
        found.append(output)
    return found


async def test_outputs_leave_in_the_order_in_which_they_were_put_after_ready() -> None:
    outbox = Outbox()
    texts = [ReplyText(1, str(index)) for index in range(5)]
    for text in texts:
        await outbox.put(text)
    outbox.open(READY)
    assert await everything(outbox) == [READY, *texts]


async def test_nothing_leaves_before_ready() -> None:
    outbox = Outbox()
    await outbox.put(ReplyText(1, "early"))
    async with asyncio.TaskGroup() as tasks:
        getting = tasks.create_task(outbox.get(), name="get")
        await asyncio.sleep(1)
        assert not getting.done()
        outbox.open(READY)
    assert getting.result() == READY


async def test_a_session_that_ends_before_ready_says_nothing() -> None:
    outbox = Outbox()
    await outbox.put(ReplyText(1, "early"))
    assert await everything(outbox) == []


async def test_who_puts_waits_for_room_and_goes_on_when_there_is_some() -> None:
    outbox = opened()
    put: list[int] = []

    async def fill() -> None:
        for index in range(1000):
            await outbox.put(ReplyText(1, str(index)))
            put.append(index)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fill(), name="fill")
        await asyncio.sleep(1)
        assert len(put) < 300, "the outbox has no bound"
        await outbox.get()
        found = [await outbox.get() for _ in range(1000)]
    assert found == [ReplyText(1, str(index)) for index in range(1000)]


async def test_silence_takes_back_what_waits_of_the_reply_and_all_before_it_now_and_later() -> None:
    outbox = opened()
    kept = [ReplyStartedOutput(1, "1"), ReplyText(2, "new")]
    await outbox.put(kept[0])
    await outbox.put(ReplyAudio(1, Audio((b"\0\0",), 0.0, 1.0)))
    outbox.silence(1)
    await outbox.put(ReplyText(1, "late"))
    await outbox.put(kept[1])
    assert await everything(outbox) == [READY, *kept]


async def test_there_is_room_for_little_audio_until_some_is_taken() -> None:
    outbox = opened()
    assert await outbox.get() == READY
    chunk = ReplyAudio(1, Audio((b"\0\0",), 0.0, 100.0))
    for _ in range(2):
        assert outbox.has_room_for_audio
        await outbox.put(chunk)
    assert not outbox.has_room_for_audio
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(outbox.wait_room_for_audio(), name="wait")
        await asyncio.sleep(1)
        assert not waiting.done()
        assert await outbox.get() == chunk
    assert outbox.has_room_for_audio


@pytest.mark.parametrize("free", [lambda outbox: outbox.silence(1), lambda outbox: outbox.close()])
async def test_silence_and_the_end_let_those_go_on_who_wait_for_room_for_audio(
    free: Callable[[Outbox], None],
) -> None:
    outbox = opened()
    for _ in range(5):
        await outbox.put(ReplyAudio(1, Audio((b"\0\0",), 0.0, 100.0)))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outbox.wait_room_for_audio(), name="wait")
        await asyncio.sleep(1)
        free(outbox)


async def test_silence_lets_those_go_on_who_wait_for_room_without_putting_anything() -> None:
    outbox = opened()
    async with asyncio.TaskGroup() as tasks:
        for index in range(300):
            tasks.create_task(outbox.put(ReplyText(1, str(index))), name=f"put.{index}")
        await asyncio.sleep(1)
        outbox.silence(1)
    assert await everything(outbox) == [READY]


async def test_closing_lets_everybody_go_on_and_takes_nothing_more() -> None:
    outbox = opened()
    async with asyncio.TaskGroup() as tasks:
        for index in range(300):
            tasks.create_task(outbox.put(ReplyText(1, str(index))), name=f"put.{index}")
        await asyncio.sleep(1)
        outbox.close()
    outbox.put_now(ReplyText(1, "late"))
    assert ReplyText(1, "late") not in await everything(outbox)
