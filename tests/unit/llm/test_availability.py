"""Health follows the engine: told at once when it is lost, warmed up before it is told available."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from parley_llm import faults
from parley_llm.availability import Availability
from parley_llm.chat import Chat, ChatLimits
from parley_llm.engines.scripted import Script, ScriptedAnswer, ScriptedEngine
from parley_llm.metrics import Metrics

PATIENCE_S = 10.0


class Fragile(ScriptedEngine):
    """The scripted engine, which can be lost and comes back after `failures` further looks."""

    def __init__(self) -> None:
        super().__init__(Script(answers=(ScriptedAnswer(deltas=("a",)),)))
        self.lost = asyncio.Event()
        self.failures = 0
        self.look_count = 0

    async def ensure_available(self) -> None:
        self.look_count += 1
        self.lost.clear()
        if self.failures:
            self.failures -= 1
            raise faults.upstream_unreachable()

    async def wait_lost(self) -> None:
        await self.lost.wait()


class Reports:
    def __init__(self) -> None:
        self.told: list[bool] = []
        self.changed = asyncio.Event()

    async def __call__(self, is_available: bool) -> None:
        self.told.append(is_available)
        self.changed.set()

    async def next(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            await self.changed.wait()
        self.changed.clear()
        return self.told[-1]


def make(engine: Fragile) -> tuple[Availability, Reports, CollectorRegistry]:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    chat = Chat(engine, ChatLimits(1, 1, 1000, 1000, 1000, 1000, 1000), metrics)
    reports = Reports()
    return Availability(engine, chat, metrics, reports, check_interval_ms=600_000), reports, registry


async def test_the_first_look_warms_up_and_tells() -> None:
    availability, reports, registry = make(Fragile())
    assert await availability.look()
    assert reports.told == [True]
    assert registry.get_sample_value("parley_llm_engine_available") == 1


async def test_an_engine_that_is_away_at_the_start_is_waited_for() -> None:
    engine = Fragile()
    engine.failures = 3
    availability, reports, registry = make(engine)
    assert not await availability.look()
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(availability.watch())
        assert not await reports.next()
        assert await reports.next()
        watch.cancel()
    assert reports.told == [False, True]
    assert registry.get_sample_value("parley_llm_engine_losses_total") == 0


async def test_a_loss_is_told_at_once_and_mended() -> None:
    engine = Fragile()
    availability, reports, registry = make(engine)
    await availability.look()
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(availability.watch())
        await reports.next()
        engine.failures = 2
        engine.lost.set()  # the interval is ten minutes: only the loss itself can wake it
        assert not await reports.next()
        assert await reports.next()
        watch.cancel()
    assert reports.told == [True, False, True]
    assert registry.get_sample_value("parley_llm_engine_losses_total") == 1


async def test_what_is_no_fault_ends_the_watch() -> None:
    class Broken(Fragile):
        async def ensure_available(self) -> None:
            raise ZeroDivisionError

    availability, _, _ = make(Broken())
    with pytest.raises(ZeroDivisionError):
        await availability.watch()
