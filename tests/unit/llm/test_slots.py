"""A bounded number of answers at once, a bounded queue, in the order of arrival."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from prometheus_client import CollectorRegistry

from parley_llm.metrics import Metrics
from parley_llm.slots import Slots
from parley_servicekit.faults import Fault, FaultCode


async def test_a_full_queue_refuses_at_once_with_a_hint() -> None:
    slots = Slots(1, 0, 60_000)
    async with slots.taken():
        with pytest.raises(Fault) as caught:
            async with slots.taken():
                pass
    assert (caught.value.reason, caught.value.code) == ("AT_CAPACITY", FaultCode.RESOURCE_EXHAUSTED)
    assert caught.value.retry_after_ms == 60_000
    async with slots.taken():
        assert (slots.taken_count, slots.queued_count) == (1, 0)


async def test_waiting_ends_with_the_deadline() -> None:
    slots = Slots(1, 1, 1)
    async with slots.taken():
        with pytest.raises(Fault, match="QUEUE_TIMEOUT"):
            async with slots.taken():
                pass
        assert slots.queued_count == 0


async def test_those_who_wait_come_in_order_and_nobody_overtakes() -> None:
    slots = Slots(1, 10, 60_000)
    order: list[int] = []

    async def hold(number: int) -> None:
        async with slots.taken():
            order.append(number)

    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as held:
        await held.enter_async_context(slots.taken())
        for number in range(5):
            tasks.create_task(hold(number))
            await asyncio.sleep(0)
        assert slots.queued_count == 5
        await held.aclose()
        tasks.create_task(hold(5))
    assert order == [0, 1, 2, 3, 4, 5]
    assert (slots.taken_count, slots.queued_count) == (0, 0)


async def test_a_cancelled_waiter_leaves_its_place() -> None:
    slots = Slots(1, 1, 60_000)

    async def wait() -> None:
        async with slots.taken():
            pass

    async with slots.taken(), asyncio.TaskGroup() as tasks:
        waiter = tasks.create_task(wait())
        await asyncio.sleep(0)
        assert slots.queued_count == 1
        waiter.cancel()
        await asyncio.sleep(0)
        assert slots.queued_count == 0
    async with slots.taken():
        assert slots.taken_count == 1


async def test_everybody_who_got_a_slot_or_waited_in_vain_is_counted_once() -> None:
    registry = CollectorRegistry()
    slots = Slots(1, 1, 1, Metrics(registry).queue)

    def count() -> tuple[float | None, float | None]:
        waits = registry.get_sample_value("parley_llm_queue_wait_seconds_count")
        return registry.get_sample_value("parley_llm_requests_queued"), waits

    async with slots.taken(), asyncio.TaskGroup() as tasks:
        assert count() == (0, 1)
        waiter = tasks.create_task(_refused(slots))
        await asyncio.sleep(0)
        assert count() == (1, 1)
        with pytest.raises(Fault, match="AT_CAPACITY"):
            async with slots.taken():
                pass
        assert await waiter == "QUEUE_TIMEOUT"
    assert count() == (0, 2)


async def _refused(slots: Slots) -> str:
    try:
        async with slots.taken():
            return ""
    except Fault as fault:
        return fault.reason
