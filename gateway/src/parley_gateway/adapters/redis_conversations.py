"""`ConversationStore` in Redis (6.2 or later): for gateways that share conversations. Chosen in `bootstrap`.

A conversation is three keys of one hash slot, `parley:conv:{ID}:meta`, `:events` and `:keys`, changed
together by one script a call and expiring together; a sorted set per owner lists them. redis-py repeats a
command that timed out, so every script may run twice. An opening gives the higher of fence + 1 and the wall
clock: after a failover that lost an opening, the next one is still higher than it.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError, ResponseError

from parley_gateway import faults
from parley_gateway.adapters.conversation_rows import (
    StoreLimits,
    conversation_from_row,
    conversation_id_of,
    conversation_row,
    event_rows,
    events_from_rows,
    last_key_of,
    now_utc,
    page_count,
    page_of,
    sort_key,
    to_microseconds,
)
from parley_gateway.adapters.redis_scripts import APPEND, CREATE, DELETE, OPEN, READ, RENAME
from parley_gateway.conversation import Conversation, Event, Renamed, is_conversation_id
from parley_gateway.ports import ConversationPage, OpenedConversation, StoredConversation
from parley_servicekit.faults import Fault

# Local appends take 0.1 ms; a server that is silent so long counts as away.
_SOCKET_TIMEOUT_S = 0.5
_RETRY_COUNT = 1
_CALL_MAX_S = 0.9
_CONNECTION_MAX_COUNT = 32
# Index entries of expired conversations that one listing clears away before it answers with a short page.
_LISTING_ROUND_MAX_COUNT = 10
# A key of another type, a field that a script cannot calculate with.
_SIGNS_OF_FOREIGN_CONTENT = ("WRONGTYPE", "attempt to ", "not an integer")
_FAULTS = {
    "NOT_FOUND": faults.conversation_not_found,
    "TAKEN_OVER": faults.taken_over,
    "FULL": faults.conversation_full,
    "EXISTS": faults.conversation_exists,
}

_Result = TypeVar("_Result")


class RedisConversations:
    """Connects at first use, and again whenever it has to.

    url: redis:// or rediss:// or unix://, with user and password where the server wants them; never shown.
    """

    def __init__(
        self, url: str, limits: StoreLimits | None = None, *, now: Callable[[], datetime] = now_utc
    ) -> None:
        self._limits = limits or StoreLimits()
        self._now = now
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTION_MAX_COUNT,
            timeout=_SOCKET_TIMEOUT_S,
            socket_timeout=_SOCKET_TIMEOUT_S,
            socket_connect_timeout=_SOCKET_TIMEOUT_S,
            retry=Retry(ExponentialWithJitterBackoff(cap=0.1, base=0.01), _RETRY_COUNT),
        )
        self._redis = redis.asyncio.Redis.from_pool(pool)
        self._create = self._redis.register_script(CREATE)
        self._open = self._redis.register_script(OPEN)
        self._append = self._redis.register_script(APPEND)
        self._read = self._redis.register_script(READ)
        self._rename = self._redis.register_script(RENAME)
        self._delete = self._redis.register_script(DELETE)

    async def create(self, conversation: Conversation) -> OpenedConversation:
        """See `ConversationStore`."""
        body = conversation_row(conversation, self._limits)
        update_us = to_microseconds(conversation.update_time)
        key = sort_key(conversation)
        await self._run(
            self._create,
            conversation.conversation_id,
            *(body, conversation.owner, conversation.title, update_us, key),
        )
        await self._index(conversation.owner, key)
        return OpenedConversation(conversation, (), 1)

    async def open(self, conversation_id: str, owner: str) -> OpenedConversation:
        """See `ConversationStore`."""
        fence, found_key, *stored = await self._run(
            self._open, conversation_id, owner, int(time.time() * 1000)
        )
        # Again, in case that the gateway died between the two writes of `create`.
        await self._index(owner, _text(found_key))
        opened = await _stored(stored)
        return OpenedConversation(opened.conversation, opened.events, int(fence))

    async def append(
        self, conversation_id: str, fence: int, events: Sequence[Event], *, late: bool = False
    ) -> None:
        """See `ConversationStore`."""
        rows = event_rows(fence, events, self._limits)
        flat = [part for row in rows for part in (row.key, row.body)]
        await self._run(
            self._append, conversation_id, "late" if late else fence, *self._room(), self._now_us(), *flat
        )

    async def read(self, conversation_id: str, owner: str) -> StoredConversation:
        """See `ConversationStore`."""
        return await _stored(await self._run(self._read, conversation_id, owner))

    async def list_page(self, owner: str, page_size: int, page_token: str = "") -> ConversationPage:
        """See `ConversationStore`. Where very many expired at once, a page may be the last too early."""
        before = last_key_of(page_token)
        count = page_count(page_size)
        found: list[tuple[str, bytes, str, int]] = []
        for _ in range(_LISTING_ROUND_MAX_COUNT):
            wanted = count + 1 - len(found)
            keys = await self._call(self._keys_before(owner, before, wanted))
            found += await self._call(self._heads(owner, keys))
            if len(keys) < wanted or len(found) > count:
                break
            before = keys[-1]
        return page_of(found, count)

    async def rename(self, conversation_id: str, owner: str, title: str) -> Conversation:
        """See `ConversationStore`."""
        row = event_rows(0, [Renamed(title, self._now())], self._limits)[0]
        body, update_us = await self._run(
            self._rename, conversation_id, owner, title, *self._room(), self._now_us(), row.key, row.body
        )
        return conversation_from_row(body, title, int(update_us))

    async def delete(self, conversation_id: str, owner: str) -> None:
        """See `ConversationStore`."""
        (found_key,) = await self._run(self._delete, conversation_id, owner)
        await self._call(self._redis.zrem(_index_key(owner), found_key))

    async def ping(self) -> None:
        """See `ConversationStore`."""
        await self._call(self._redis.ping())

    async def close(self) -> None:
        """See `ConversationStore`."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    def _room(self) -> tuple[int, int]:
        return self._limits.conversation_max_count, self._limits.conversation_max_bytes

    def _now_us(self) -> int:
        return to_microseconds(self._now())

    async def _index(self, owner: str, key: str) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zadd(_index_key(owner), {key: 0})
        pipeline.pexpire(_index_key(owner), self._limits.time_to_live_ms)
        await self._call(pipeline.execute())

    async def _keys_before(self, owner: str, before: str | None, count: int) -> list[str]:
        highest = "+" if before is None else f"({before}"
        keys = await self._redis.zrevrangebylex(_index_key(owner), highest, "-", start=0, num=count)
        return [_text(key) for key in keys]

    async def _heads(self, owner: str, keys: Sequence[str]) -> list[tuple[str, bytes, str, int]]:
        """What the keys name; those that expired are taken off the owner's list."""
        if not keys:
            return []
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(_keys(conversation_id_of(key))[0], ["body", "title", "update_us"])
        heads = dict(zip(keys, await pipeline.execute(), strict=True))
        gone = [key for key, head in heads.items() if head[0] is None]
        if gone:
            await self._redis.zrem(_index_key(owner), *gone)
        return [_listed(key, head) for key, head in heads.items() if head[0] is not None]

    async def _run(self, script: Any, conversation_id: str, *arguments: bytes | str | int) -> list[Any]:
        """What a script answers after its status. Every script gets the time to live first."""
        keys = _keys(conversation_id)
        answer = await self._call(script(keys=keys, args=[self._limits.time_to_live_ms, *arguments]))
        status = _text(answer[0])
        if status != "OK":
            raise _FAULTS[status]()
        return list(answer[1:])

    async def _call(self, command: Awaitable[_Result]) -> _Result:
        task = asyncio.current_task()
        cancels_before = task.cancelling() if task else 0
        failure: Fault | None = None
        try:
            async with asyncio.timeout(_CALL_MAX_S):
                result = await command
        except (RedisError, OSError, RuntimeError) as error:
            # uvloop raises RuntimeError where asyncio drops a write into a connection that was reset a moment ago.
            failure = _fault(error)
        if task and task.cancelling() > cancels_before:
            # redis-py 8.1 swallows a cancellation at times, and returns or raises an error instead of it.
            raise asyncio.CancelledError
        if failure is not None:
            raise failure
        return result


def _fault(error: Exception) -> Fault:
    """Names the error's type only: its message may hold the address or a command's arguments."""
    name = type(error).__name__
    if isinstance(error, ResponseError) and any(sign in str(error) for sign in _SIGNS_OF_FOREIGN_CONTENT):
        return faults.store_corrupt(name)
    return faults.store_unavailable(name)


async def _stored(parts: Sequence[Any]) -> StoredConversation:
    body, title, update_us, lines = parts
    if None in (body, title, update_us) or not update_us.isdigit():
        raise faults.store_corrupt("meta")
    conversation = conversation_from_row(body, _text(title), int(update_us))
    return StoredConversation(conversation, await events_from_rows(lines.split(b"\n") if lines else []))


def _listed(key: str, head: Sequence[Any]) -> tuple[str, bytes, str, int]:
    body, title, update_us = head
    if title is None or update_us is None or not update_us.isdigit():
        body, title, update_us = b"", b"", b"0"  # Damaged; `page_of` leaves it out.
    return key, body, _text(title), int(update_us)


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _keys(conversation_id: str) -> list[str]:
    """Raises CONVERSATION_NOT_FOUND for what cannot name one: nothing foreign gets into a key."""
    if not is_conversation_id(conversation_id):
        raise faults.conversation_not_found()
    return [f"parley:conv:{{{conversation_id}}}:{part}" for part in ("meta", "events", "keys")]


def _index_key(owner: str) -> str:
    # Hashed: an owner's name may hold anything and is nobody's business.
    return f"parley:owner:{{{hashlib.sha256(owner.encode()).hexdigest()[:32]}}}:conversations"
