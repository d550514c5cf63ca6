"""InstanceSlots: order, bounds, and nothing lost when somebody leaves."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from parley_servicekit.faults import Fault
from parley_tts.engines.instance_slots import InstanceSlots
from parley_tts.metrics import Metrics


def slots(*urls: str, waiting_max_count: int = 10, wait_timeout_ms: int = 60_000) -> InstanceSlots:
    return InstanceSlots(urls, waiting_max_count=waiting_max_count, wait_timeout_ms=wait_timeout_ms)


async def test_waiters_are_served_in_order() -> None:
    queue = slots("a")
    served: list[int] = []

    async def use(number: int) -> None:
        url = await queue.take("v")
        served.append(number)
        queue.release(url)

    url = await queue.take("v")
    async with asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(use(number), name=f"{number}")
        await asyncio.sleep(0)
        assert queue.waiting_count == 5
        queue.release(url)
    assert served == [0, 1, 2, 3, 4]
    assert queue.free_count == 1


async def test_more_than_may_wait_are_refused_at_once() -> None:
    queue = slots("a", waiting_max_count=0)
    await queue.take("v")
    with pytest.raises(Fault) as caught:
        await queue.take("v")
    assert caught.value.reason == "ENGINE_BUSY" and caught.value.retry_after_ms


async def test_a_wait_that_is_too_long_is_refused_and_leaves_no_trace() -> None:
    queue = slots("a", wait_timeout_ms=0)
    url = await queue.take("v")
    with pytest.raises(Fault):
        await queue.take("v")
    assert queue.waiting_count == 0
    queue.release(url)
    assert queue.free_count == 1


async def test_a_server_given_to_one_who_leaves_goes_to_the_next() -> None:
    queue = slots("a")
    url = await queue.take("v")
    async with asyncio.TaskGroup() as tasks:
        leaver = tasks.create_task(queue.take("v"), name="leaver")
        stayer = tasks.create_task(queue.take("v"), name="stayer")
        await asyncio.sleep(0)
        queue.release(url)
        leaver.cancel()
    assert stayer.result() == "a"
    assert leaver.cancelled()


async def test_the_server_that_last_spoke_the_voice_is_preferred() -> None:
    queue = slots("a", "b")
    first, second = await queue.take("x"), await queue.take("y")
    queue.release(first)
    queue.release(second)
    assert await queue.take("y") == second
    queue.release(second)
    assert await queue.take("") == first


async def test_every_take_is_counted_and_those_who_wait_can_be_seen() -> None:
    registry = CollectorRegistry()
    queue = InstanceSlots(["a"], waiting_max_count=1, wait_timeout_ms=60_000, queue=Metrics(registry).queue)

    def count() -> tuple[float | None, float | None]:
        waits = registry.get_sample_value("parley_tts_queue_wait_seconds_count")
        return registry.get_sample_value("parley_tts_requests_queued"), waits

    url = await queue.take("v")
    assert count() == (0, 1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(queue.take("v"), name="waiter")
        await asyncio.sleep(0)
        assert count() == (1, 1)
        queue.release(url)
    assert count() == (0, 2)
