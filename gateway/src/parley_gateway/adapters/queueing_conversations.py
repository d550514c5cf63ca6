"""`QueueingConversations`: any `ConversationStore`, with a spool on the local disk for when it is away.

`bootstrap` wraps the real store in it. New conversations and appended events that the store cannot take go to
the spool and count as stored: a reply may become audible. `run` brings them to the store, in order, when it
is back; after a crash of the gateway, when it starts again. Everything else needs the store and all that is
spooled in it first; until then it is STORE_UNAVAILABLE.

What was accepted is kept: spooled events go to the store even if another session took the conversation over
in the meantime, because they were said and heard. Their place in the log is then after what the other session
wrote. Only a conversation that was deleted, has expired or is full refuses them; `discarded_count` tells.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from parley_gateway import faults
from parley_gateway.adapters.conversation_rows import (
    StoreLimits,
    conversation_from_row,
    conversation_row,
    event_rows,
    from_json,
    to_json,
    to_microseconds,
)
from parley_gateway.adapters.event_spool import EventSpool
from parley_gateway.conversation import Conversation, Event
from parley_gateway.ports import ConversationPage, ConversationStore, OpenedConversation, StoredConversation
from parley_servicekit.faults import Fault, fault_in
from parley_servicekit.logs import get_logger

_RETRY_FIRST_S = 0.1
_RETRY_MAX_S = 2.0
# How long a call that needs the store waits while the spool is being brought in.
_SETTLE_MAX_S = 2.0

_Result = TypeVar("_Result")
_log = get_logger()


class QueueingConversations:
    """Made by `over`. `run` must be running all the while, in a task of the caller's.

    Appends of one conversation keep their order, even those that are made at the same time.
    discarded_count: records of the spool that the store refused for good, or that were damaged.
    """

    def __init__(
        self,
        store: ConversationStore,
        limits: StoreLimits,
        spool: EventSpool,
        observe_append: Callable[[float], None],
        to_check: str,
    ) -> None:
        self._store = store
        self._to_check = to_check
        self._observe_append = observe_append
        self._limits = limits
        self._spool = spool
        # One thread: whatever a cancelled caller began is over before the next call begins.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-spool")
        # Held while the spool changes between empty and not empty.
        self._spool_lock = asyncio.Lock()
        self._pending = asyncio.Event()
        self._settled = asyncio.Event()
        self._mark(pending=spool.size_bytes > 0)
        self._is_away = False
        self._brought_in_bytes = 0
        self._brought_in_count = 0
        self._order_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.discarded_count = 0

    @classmethod
    async def over(
        cls,
        store: ConversationStore,
        spool_path: Path,
        limits: StoreLimits | None = None,
        *,
        spool_max_bytes: int = 64 * 1024 * 1024,
        observe_append: Callable[[float], None] = lambda _seconds: None,
        to_check: str = "the store",
    ) -> "QueueingConversations":
        """The queue over `store`, with what an earlier process left in the spool.

        limits: those of the store. observe_append: told how many seconds every append took. to_check: what an operator
        is to check when the store is away.
        Raises STORE_UNAVAILABLE when the spool cannot be used, or another process has it.
        """
        spool = await asyncio.to_thread(EventSpool, spool_path, spool_max_bytes)
        return cls(store, limits or StoreLimits(), spool, observe_append, to_check)

    @property
    def is_degraded(self) -> bool:
        """Whether something that was accepted is not in the store yet."""
        return self._pending.is_set()

    @property
    def spooled_bytes(self) -> int:
        """Size of the spool."""
        return self._spool.size_bytes

    @property
    def queued_event_count(self) -> int:
        """How much waits in the spool: events, and conversations that are to be made."""
        return self._spool.record_count - self._brought_in_count

    async def run(self) -> None:
        """Bring the spool to the store whenever there is something in it. Never returns.

        A store that is away is told at the start, when somebody looks, and when something has to wait for it.
        """
        wait_s = _RETRY_FIRST_S
        try:
            await self._store.ping()
        except Exception as error:
            self._tell_away(error)
        while True:
            await self._pending.wait()
            try:
                await self._bring_in()
            except Exception as error:  # a bug of an adapter is no reason to end all conversations
                if not self._is_away or fault_in(error) is None:
                    self._tell_away(error)
                self._is_away = True
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _RETRY_MAX_S)
            else:
                _log.info("store.caught_up", discarded_count=self.discarded_count)
                wait_s = _RETRY_FIRST_S

    async def create(self, conversation: Conversation) -> OpenedConversation:
        """See `ConversationStore`."""
        async with self._order(conversation.conversation_id):
            if not await self._is_stored(lambda: self._store.create(conversation)):
                row = conversation_row(conversation, self._limits)
                update_us = to_microseconds(conversation.update_time)
                await self._put({"row": row.decode(), "title": conversation.title, "update_us": update_us})
        return OpenedConversation(conversation, (), 1)

    async def open(self, conversation_id: str, owner: str) -> OpenedConversation:
        """See `ConversationStore`."""
        await self._settle()
        return await self._store.open(conversation_id, owner)

    async def append(
        self, conversation_id: str, fence: int, events: Sequence[Event], *, late: bool = False
    ) -> None:
        """See `ConversationStore`. TAKEN_OVER shows itself only when the store is there."""
        began_at_s = time.monotonic()
        try:
            async with self._order(conversation_id):
                if await self._is_stored(
                    lambda: self._store.append(conversation_id, fence, events, late=late)
                ):
                    return
                event_rows(fence, events, self._limits)
                bodies = [to_json(event).decode() for event in events]
                await self._put({"conversation_id": conversation_id, "fence": fence, "events": bodies})
        finally:
            self._observe_append(time.monotonic() - began_at_s)

    async def read(self, conversation_id: str, owner: str) -> StoredConversation:
        """See `ConversationStore`."""
        await self._settle()
        return await self._store.read(conversation_id, owner)

    async def list_page(self, owner: str, page_size: int, page_token: str = "") -> ConversationPage:
        """See `ConversationStore`."""
        await self._settle()
        return await self._store.list_page(owner, page_size, page_token)

    async def rename(self, conversation_id: str, owner: str, title: str) -> Conversation:
        """See `ConversationStore`."""
        await self._settle()
        return await self._store.rename(conversation_id, owner, title)

    async def delete(self, conversation_id: str, owner: str) -> None:
        """See `ConversationStore`."""
        await self._settle()
        await self._store.delete(conversation_id, owner)

    async def ping(self) -> None:
        """See `ConversationStore`; about the store itself, whatever is in the spool."""
        await self._store.ping()

    async def close(self) -> None:
        """Close the store and the spool, after the end of `run`; the spool stays for the next start."""
        await self._in_thread(self._spool.close)
        self._thread.shutdown(wait=False)
        await self._store.close()

    def _order(self, conversation_id: str) -> asyncio.Lock:
        """One lock a conversation, for as long as somebody holds it or waits for it."""
        return self._order_locks.setdefault(conversation_id, asyncio.Lock())

    async def _is_stored(self, write: Callable[[], Awaitable[object]]) -> bool:
        """Whether the store took it; not even asked while earlier writes wait in the spool."""
        if self.is_degraded:
            return False
        try:
            await write()
        except Fault as fault:
            if fault.reason != faults.STORE_UNAVAILABLE:
                raise
            return False
        return True

    async def _put(self, record: dict[str, Any]) -> None:
        async with self._spool_lock:
            # Before it is written: a caller that is cancelled in between must not leave it there unseen.
            self._mark(pending=True)
            await self._in_thread(self._spool.append, record)

    async def _settle(self) -> None:
        if self.is_degraded and self._is_away:
            raise faults.store_unavailable("spool-pending")
        try:
            async with asyncio.timeout(_SETTLE_MAX_S):
                await self._settled.wait()
        except TimeoutError:
            raise faults.store_unavailable("spool-pending") from None

    async def _bring_in(self) -> None:
        """Replay the spool from where the last attempt stopped, and empty it. Raises STORE_UNAVAILABLE."""
        while True:
            records = await self._in_thread(self._spool.read, self._brought_in_bytes)
            for record, end_bytes in records:
                await self._replay(record)
                self._brought_in_bytes = end_bytes
                self._brought_in_count += 1
                self._is_away = False
            if not records:
                async with self._spool_lock:
                    if await self._in_thread(self._spool.clear_if_read, self._brought_in_bytes):
                        self._brought_in_bytes = self._brought_in_count = 0
                        self._mark(pending=False)
                        return

    async def _replay(self, record: dict[str, Any] | None) -> None:
        try:
            if record is None:
                raise faults.store_corrupt("spool-record")
            if "row" in record:
                await self._store.create(_conversation_in(record))
            else:
                conversation_id, fence, events = _events_in(record)
                await self._store.append(conversation_id, fence, events, late=True)
        except Fault as fault:
            if fault.reason == faults.STORE_UNAVAILABLE:
                raise
            if fault.reason == faults.CONVERSATION_EXISTS:
                return  # Stored before a crash, and opened by somebody since.
            self.discarded_count += 1
            _log.warning("store.spooled_record_discarded", reason=fault.reason)

    def _tell_away(self, error: Exception) -> None:
        fault = fault_in(error)
        if fault is None:
            _log.error("store.failed_unexpectedly", exc_info=error)
            return
        _log.warning(
            "store.away",
            reason=fault.reason,
            cause=fault.metadata.get("cause", ""),
            advice=f"conversations go on and are queued; check {self._to_check}",
        )

    def _mark(self, *, pending: bool) -> None:
        if pending:
            self._settled.clear()
            self._pending.set()
        else:
            self._pending.clear()
            self._settled.set()

    async def _in_thread(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _conversation_in(record: dict[str, Any]) -> Conversation:
    try:
        return conversation_from_row(record["row"].encode(), record["title"], record["update_us"])
    except (KeyError, AttributeError):
        raise faults.store_corrupt("spool-record") from None


def _events_in(record: dict[str, Any]) -> tuple[str, int, list[Event]]:
    try:
        events = [from_json(body.encode()) for body in record["events"]]
        conversation_id, fence = record["conversation_id"], record["fence"]
    except (KeyError, AttributeError, TypeError):
        raise faults.store_corrupt("spool-record") from None
    if not isinstance(conversation_id, str) or type(fence) is not int:
        raise faults.store_corrupt("spool-record")
    return conversation_id, fence, [event for event in events if event is not None]
