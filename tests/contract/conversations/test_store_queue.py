"""What the queue promises when the store behind it is away (`QueueingConversations`), over a real Redis and SQLite."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from parley_gateway.adapters.conversation_rows import StoreLimits
from parley_gateway.adapters.event_spool import EventSpool
from parley_gateway.adapters.memory_conversations import MemoryConversations
from parley_gateway.adapters.queueing_conversations import QueueingConversations
from parley_gateway.adapters.redis_conversations import RedisConversations
from parley_gateway.adapters.sqlite_conversations import SqliteConversations
from parley_gateway.conversation import Event, messages
from parley_gateway.faults import store_unavailable
from parley_servicekit.faults import Fault
from support.conversation_backends import queued
from support.conversation_samples import conversation, eventually, exchange, refusal, turn
from support.killed_writer import assert_kept, killed_after
from support.redis_server import RedisServer


async def caught_up(queue: QueueingConversations) -> None:
    async def is_in() -> bool:
        return not queue.is_degraded

    await eventually(is_in)


@pytest.mark.parametrize("outage", ["kill", "freeze"])
async def test_a_conversation_goes_on_while_redis_is_away(
    own_redis: RedisServer, tmp_path: Path, outage: str
) -> None:
    begun = conversation("owner")
    name = begun.conversation_id
    async with queued(RedisConversations(own_redis.url), tmp_path / "spool") as queue:
        fence = (await queue.create(begun)).fence
        await queue.append(name, fence, [turn(0)])
        assert not queue.is_degraded
        own_redis.kill() if outage == "kill" else own_redis.freeze()
        for number in range(1, 40):
            await queue.append(name, fence, [turn(number)])
        assert queue.is_degraded
        assert queue.spooled_bytes > 0
        assert (await refusal(queue.ping())).reason == "STORE_UNAVAILABLE"
        own_redis.start() if outage == "kill" else own_redis.thaw()
        # While it is being brought in, and afterwards.
        for number in range(40, 200):
            await queue.append(name, fence, [turn(number)])
        await caught_up(queue)
        await queue.append(name, fence, [turn(200)])
        assert list((await queue.read(name, "owner")).events) == [turn(number) for number in range(201)]
        assert (queue.spooled_bytes, queue.discarded_count) == (0, 0)


async def test_a_store_that_fails_as_it_should_not_is_asked_again(tmp_path: Path) -> None:
    class Broken(MemoryConversations):
        failure_count = 0

        async def append(
            self, conversation_id: str, fence: int, events: Sequence[Event], *, late: bool = False
        ) -> None:
            if not late:
                raise store_unavailable("away")
            self.failure_count += 1
            if self.failure_count < 3:
                raise KeyError("a bug")
            await super().append(conversation_id, fence, events, late=late)

    begun = conversation("owner")
    async with queued(Broken(), tmp_path / "spool") as queue:
        await queue.create(begun)
        await queue.append(begun.conversation_id, 1, [turn(0)])
        await caught_up(queue)
        assert list((await queue.read(begun.conversation_id, "owner")).events) == [turn(0)]


async def test_many_conversations_at_once_keep_their_order_through_an_outage(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    begun = [conversation("owner") for _ in range(8)]

    async def talk(name: str) -> None:
        for number in range(60):
            await queue.append(name, 1, [turn(number)])

    async with queued(RedisConversations(own_redis.url), tmp_path / "spool") as queue:
        for each in begun:
            await queue.create(each)
        async with asyncio.TaskGroup() as tasks:
            for each in begun:
                tasks.create_task(talk(each.conversation_id))
            await asyncio.sleep(0.02)
            await asyncio.to_thread(own_redis.kill)
            await asyncio.to_thread(own_redis.start)
        await caught_up(queue)
        for each in begun:
            stored = await queue.read(each.conversation_id, "owner")
            assert list(stored.events) == [turn(number) for number in range(60)]


async def test_a_conversation_can_begin_while_redis_is_away(own_redis: RedisServer, tmp_path: Path) -> None:
    begun = conversation("owner", title="begun in the dark", system_prompt="Be brief.")
    own_redis.kill()
    async with queued(RedisConversations(own_redis.url), tmp_path / "spool") as queue:
        opened = await queue.create(begun)
        await queue.append(begun.conversation_id, opened.fence, exchange(1))
        await assert_told(queue, begun.conversation_id)
        own_redis.start()
        await caught_up(queue)
        again = await queue.open(begun.conversation_id, "owner")
    assert list(again.events) == exchange(1)
    assert again.conversation.title == "begun in the dark"
    assert again.fence > opened.fence


async def assert_told(queue: QueueingConversations, name: str) -> None:
    for attempt in (
        queue.open(name, "owner"),
        queue.read(name, "owner"),
        queue.list_page("owner", 10),
        queue.rename(name, "owner", "title"),
        queue.delete(name, "owner"),
    ):
        assert (await refusal(attempt)).reason == "STORE_UNAVAILABLE"


async def test_a_killed_gateway_brings_its_spool_in_when_it_starts_again(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    begun = conversation("owner")
    name = begun.conversation_id
    store = RedisConversations(own_redis.url)
    await store.create(begun)
    await store.close()
    own_redis.kill()
    promised = killed_after(30, "redis", own_redis.url, str(tmp_path / "spool"), name, "1")
    own_redis.start()
    async with queued(RedisConversations(own_redis.url), tmp_path / "spool") as queue:
        opened = await queue.open(name, "owner")
        assert_kept(opened.events, promised)
        assert queue.spooled_bytes == 0


async def test_what_waits_is_counted_by_the_next_process_too_and_every_append_is_timed(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    begun = conversation("owner")
    name, times_s = begun.conversation_id, list[float]()
    own_redis.kill()
    dark = await QueueingConversations.over(
        RedisConversations(own_redis.url), tmp_path / "spool", observe_append=times_s.append
    )
    assert dark.queued_event_count == 0
    await dark.create(begun)
    for number in range(5):
        await dark.append(name, 1, [turn(number)])
    assert (dark.queued_event_count, len(times_s)) == (6, 5)
    await dark.close()
    async with queued(RedisConversations(own_redis.url), tmp_path / "spool") as queue:
        assert queue.queued_event_count == 6
        own_redis.start()
        await caught_up(queue)
        assert queue.queued_event_count == 0


async def test_a_gateway_killed_while_bringing_in_doubles_nothing(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    begun = conversation("owner")
    name = begun.conversation_id
    own_redis.kill()
    async with queued(RedisConversations(own_redis.url), tmp_path / "spool") as queue:
        await queue.create(begun)
        for number in range(20):
            await queue.append(name, 1, [turn(number)])
    left = (tmp_path / "spool").read_bytes()
    own_redis.start()
    for _ in range(2):
        async with queued(RedisConversations(own_redis.url), tmp_path / "spool") as queue:
            await caught_up(queue)
            assert list((await queue.read(name, "owner")).events) == [turn(number) for number in range(20)]
        # As if the file had not been emptied before the kill.
        (tmp_path / "spool").write_bytes(left)


async def test_what_was_said_before_a_takeover_is_kept(own_redis: RedisServer, tmp_path: Path) -> None:
    begun = conversation("owner")
    name = begun.conversation_id
    with_link = RedisConversations(own_redis.url)
    own_redis.freeze()
    async with queued(RedisConversations(own_redis.url), tmp_path / "spool") as cut_off:
        own_redis.thaw()
        first = await cut_off.create(begun)
        own_redis.freeze()
        await cut_off.append(name, first.fence, [turn(1, "said in the dark")])
        assert cut_off.is_degraded
        own_redis.thaw()
        second = await with_link.open(name, "owner")
        await with_link.append(name, second.fence, [turn(1, "said elsewhere")])
        await caught_up(cut_off)
        assert (await refusal(cut_off.append(name, first.fence, [turn(2)]))).reason == "TAKEN_OVER"
        texts = {message.text for message in messages((await with_link.read(name, "owner")).events)}
    await with_link.close()
    assert texts == {"said in the dark", "said elsewhere"}


async def test_events_of_a_conversation_deleted_meanwhile_are_discarded_and_counted(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    gone, kept = conversation("owner"), conversation("owner")
    store = RedisConversations(own_redis.url)
    await store.create(gone)
    await store.create(kept)
    own_redis.kill()
    async with queued(RedisConversations(own_redis.url), tmp_path / "spool") as queue:
        for each in (gone, kept):
            await queue.append(each.conversation_id, 1, [turn(1)])
    own_redis.start()
    await store.delete(gone.conversation_id, "owner")
    await store.close()
    async with queued(RedisConversations(own_redis.url), tmp_path / "spool") as queue:
        await caught_up(queue)
        assert queue.discarded_count == 1
        assert list((await queue.read(kept.conversation_id, "owner")).events) == [turn(1)]


async def test_a_full_spool_refuses_and_what_it_took_is_kept(own_redis: RedisServer, tmp_path: Path) -> None:
    begun = conversation("owner")
    name = begun.conversation_id
    own_redis.kill()
    store = RedisConversations(own_redis.url)
    async with queued(store, tmp_path / "spool", spool_max_bytes=5000) as queue:
        await queue.create(begun)
        number = 0
        fault: Fault | None = None
        while fault is None:
            try:
                await queue.append(name, 1, [turn(number)])
                number += 1
            except Fault as refused:
                fault = refused
        assert (fault.reason, fault.retryable, number > 5) == ("STORE_UNAVAILABLE", True, True)
        own_redis.start()
        await caught_up(queue)
        await queue.append(name, 1, [turn(number)])
        assert list((await queue.read(name, "owner")).events) == [turn(n) for n in range(number + 1)]


async def test_an_event_too_large_is_refused_before_it_is_spooled(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    own_redis.kill()
    async with queued(
        RedisConversations(own_redis.url), tmp_path / "spool", StoreLimits(event_max_bytes=1000)
    ) as queue:
        assert (await refusal(queue.append("c", 1, [turn(1, "x" * 2000)]))).reason == "EVENT_TOO_LARGE"
        assert queue.spooled_bytes == 0


async def test_damaged_records_are_passed_over_and_a_torn_one_is_cut_off(tmp_path: Path) -> None:
    begun = conversation("owner")
    name = begun.conversation_id
    (tmp_path / "in the way").write_text("")
    away = SqliteConversations(tmp_path / "in the way" / "c.sqlite")
    queue = await QueueingConversations.over(away, tmp_path / "spool")
    await queue.create(begun)
    for number in range(4):
        await queue.append(name, 1, [turn(number)])
    await queue.close()
    lines = (tmp_path / "spool").read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:60] + b"#" + lines[2][61:]
    (tmp_path / "spool").write_bytes(b"".join(lines) + lines[4][:-20])
    async with queued(SqliteConversations(tmp_path / "c.sqlite"), tmp_path / "spool") as back:
        await caught_up(back)
        assert back.discarded_count == 1
        assert list((await back.read(name, "owner")).events) == [turn(0), turn(2), turn(3)]


async def test_a_spool_belongs_to_one_process(tmp_path: Path) -> None:
    spool = EventSpool(tmp_path / "state" / "spool", 1000)
    store = SqliteConversations(tmp_path / "c.sqlite")
    fault = await refusal(QueueingConversations.over(store, tmp_path / "state" / "spool"))
    assert fault.reason == "STORE_UNAVAILABLE"
    assert (tmp_path / "state" / "spool").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    spool.close()
    await (await QueueingConversations.over(store, tmp_path / "state" / "spool")).close()
