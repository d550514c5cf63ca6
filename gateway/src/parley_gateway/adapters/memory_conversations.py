"""`ConversationStore` in the memory of this process: for tests, and for gateways that shall forget."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from parley_gateway import faults
from parley_gateway.adapters.conversation_rows import (
    StoreLimits,
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
from parley_gateway.conversation import Conversation, Event, Renamed
from parley_gateway.ports import ConversationPage, OpenedConversation, StoredConversation


@dataclass(slots=True)
class _Entry:
    conversation: Conversation
    touched: datetime
    fence: int = 1
    rows: dict[str, bytes] = field(default_factory=dict)
    byte_count: int = 0

    def row(self, limits: StoreLimits) -> tuple[bytes, str, int]:
        current = self.conversation
        return conversation_row(current, limits), current.title, to_microseconds(current.update_time)


class MemoryConversations:
    """Holds at most `conversation_max_count`; the one unused for longest makes room for a new one."""

    def __init__(
        self,
        limits: StoreLimits | None = None,
        *,
        conversation_max_count: int = 1000,
        now: Callable[[], datetime] = now_utc,
    ) -> None:
        self._limits = limits or StoreLimits()
        self._max_count = conversation_max_count
        self._now = now
        # In the order of their last use.
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def create(self, conversation: Conversation) -> OpenedConversation:
        """See `ConversationStore`."""
        body = conversation_row(conversation, self._limits)
        self._forget_expired()
        known = self._entries.get(conversation.conversation_id)
        if known is not None and (known.row(self._limits)[0] != body or known.fence != 1):
            raise faults.conversation_exists()
        if known is None:
            while len(self._entries) >= self._max_count:
                self._entries.popitem(last=False)
            self._entries[conversation.conversation_id] = _Entry(conversation, self._now())
        return OpenedConversation(conversation, (), 1)

    async def open(self, conversation_id: str, owner: str) -> OpenedConversation:
        """See `ConversationStore`."""
        entry = self._owned(conversation_id, owner)
        entry.fence += 1
        self._touch(entry)
        return OpenedConversation(
            entry.conversation, await events_from_rows([*entry.rows.values()]), entry.fence
        )

    async def append(
        self, conversation_id: str, fence: int, events: Sequence[Event], *, late: bool = False
    ) -> None:
        """See `ConversationStore`."""
        rows = event_rows(fence, events, self._limits)
        entry = self._found(conversation_id)
        if fence < entry.fence and not late:
            raise faults.taken_over()
        new = {row.key: row.body for row in rows if row.key not in entry.rows}
        if not self._has_room(entry, new):
            raise faults.conversation_full()
        self._keep(entry, new)

    async def read(self, conversation_id: str, owner: str) -> StoredConversation:
        """See `ConversationStore`."""
        entry = self._owned(conversation_id, owner)
        return StoredConversation(entry.conversation, await events_from_rows([*entry.rows.values()]))

    async def list_page(self, owner: str, page_size: int, page_token: str = "") -> ConversationPage:
        """See `ConversationStore`."""
        before = last_key_of(page_token)
        self._forget_expired()
        mine = sorted(
            (
                (sort_key(entry.conversation), entry)
                for entry in self._entries.values()
                if entry.conversation.owner == owner
            ),
            key=lambda keyed: keyed[0],
            reverse=True,
        )
        count = page_count(page_size)
        after = [(key, entry) for key, entry in mine if before is None or key < before][: count + 1]
        return page_of([(key, *entry.row(self._limits)) for key, entry in after], count)

    async def rename(self, conversation_id: str, owner: str, title: str) -> Conversation:
        """See `ConversationStore`."""
        renamed = Renamed(title, self._now())
        entry = self._owned(conversation_id, owner)
        entry.conversation = replace(entry.conversation, title=title)
        row = event_rows(entry.fence, [renamed], self._limits)[0]
        if self._has_room(entry, {row.key: row.body}):
            self._keep(entry, {row.key: row.body})
        return entry.conversation

    async def delete(self, conversation_id: str, owner: str) -> None:
        """See `ConversationStore`."""
        self._owned(conversation_id, owner)
        del self._entries[conversation_id]

    async def ping(self) -> None:
        """See `ConversationStore`."""

    async def close(self) -> None:
        """See `ConversationStore`. What it holds goes with the object."""

    def _owned(self, conversation_id: str, owner: str) -> _Entry:
        entry = self._found(conversation_id)
        if entry.conversation.owner != owner:
            raise faults.conversation_not_found()
        return entry

    def _found(self, conversation_id: str) -> _Entry:
        self._forget_expired()
        entry = self._entries.get(conversation_id)
        if entry is None:
            raise faults.conversation_not_found()
        return entry

    def _has_room(self, entry: _Entry, new: dict[str, bytes]) -> bool:
        return (
            len(entry.rows) + len(new) <= self._limits.conversation_max_count
            and entry.byte_count + sum(map(len, new.values())) <= self._limits.conversation_max_bytes
        )

    def _keep(self, entry: _Entry, new: dict[str, bytes]) -> None:
        entry.rows.update(new)
        entry.byte_count += sum(map(len, new.values()))
        entry.conversation = replace(entry.conversation, update_time=self._now())
        self._touch(entry)

    def _touch(self, entry: _Entry) -> None:
        entry.touched = self._now()
        self._entries.move_to_end(entry.conversation.conversation_id)

    def _forget_expired(self) -> None:
        oldest = self._now() - timedelta(milliseconds=self._limits.time_to_live_ms)
        while self._entries and next(iter(self._entries.values())).touched <= oldest:
            self._entries.popitem(last=False)
