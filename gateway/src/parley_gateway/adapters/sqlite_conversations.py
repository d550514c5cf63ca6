"""`ConversationStore` in one SQLite file: the default on a single machine. Chosen in `bootstrap`."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from parley_gateway import faults
from parley_gateway.adapters.conversation_rows import (
    EventRow,
    StoreLimits,
    conversation_from_row,
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
from parley_gateway.adapters.sqlite_file import SqliteFile
from parley_gateway.conversation import Conversation, Event, Renamed
from parley_gateway.ports import ConversationPage, OpenedConversation, StoredConversation

_SCHEMA_VERSION = 1
_SCHEMA = (
    """CREATE TABLE conversations (
      conversation_id TEXT PRIMARY KEY,
      owner TEXT NOT NULL,
      sort_key TEXT NOT NULL,
      body BLOB NOT NULL,
      title TEXT NOT NULL,
      update_us INTEGER NOT NULL,
      expire_us INTEGER NOT NULL,
      fence INTEGER NOT NULL,
      event_count INTEGER NOT NULL,
      byte_count INTEGER NOT NULL)""",
    "CREATE UNIQUE INDEX conversations_by_owner ON conversations (owner, sort_key)",
    "CREATE INDEX conversations_by_expiry ON conversations (expire_us)",
    # A conversation's rows only grow while it exists, so event_id is their order.
    """CREATE TABLE events (
      event_id INTEGER PRIMARY KEY,
      conversation_id TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,
      event_key TEXT NOT NULL,
      body BLOB NOT NULL,
      UNIQUE (conversation_id, event_key))""",
)
# Expired conversations deleted with every creation and opening: more than come, few enough to be quick.
_PRUNE_MAX_COUNT = 2

# Sort keys begin with a digit.
_AFTER_EVERY_KEY = "~"


@dataclass(frozen=True, slots=True)
class _Head:
    owner: str
    body: bytes
    title: str
    update_us: int
    fence: int
    event_count: int
    byte_count: int

    def conversation(self) -> Conversation:
        return conversation_from_row(self.body, self.title, self.update_us)


class SqliteConversations:
    """Keeps conversations in the file `path`, made at first use. Several processes may use it at a time."""

    def __init__(
        self, path: Path, limits: StoreLimits | None = None, *, now: Callable[[], datetime] = now_utc
    ) -> None:
        self._file = SqliteFile(path, _SCHEMA, _SCHEMA_VERSION)
        self._limits = limits or StoreLimits()
        self._now = now

    async def create(self, conversation: Conversation) -> OpenedConversation:
        """See `ConversationStore`."""
        body = conversation_row(conversation, self._limits)

        def work(connection: sqlite3.Connection) -> None:
            self._prune(connection, conversation.conversation_id)
            known = self._head(connection, conversation.conversation_id)
            if known is not None:
                if known.body != body or known.fence != 1:
                    raise faults.conversation_exists()
                return
            connection.execute(
                "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, ?, ?, 1, 0, 0)",
                (
                    conversation.conversation_id,
                    conversation.owner,
                    sort_key(conversation),
                    body,
                    conversation.title,
                    to_microseconds(conversation.update_time),
                    self._expire_us(),
                ),
            )

        await self._file.run(work)
        return OpenedConversation(conversation, (), 1)

    async def open(self, conversation_id: str, owner: str) -> OpenedConversation:
        """See `ConversationStore`."""

        def work(connection: sqlite3.Connection) -> tuple[_Head, list[bytes]]:
            self._prune(connection)
            head = self._owned(connection, conversation_id, owner)
            connection.execute(
                "UPDATE conversations SET fence = fence + 1, expire_us = ? WHERE conversation_id = ?",
                (self._expire_us(), conversation_id),
            )
            return head, _bodies(connection, conversation_id)

        head, bodies = await self._file.run(work)
        return OpenedConversation(head.conversation(), await events_from_rows(bodies), head.fence + 1)

    async def append(
        self, conversation_id: str, fence: int, events: Sequence[Event], *, late: bool = False
    ) -> None:
        """See `ConversationStore`."""
        rows = event_rows(fence, events, self._limits)

        def work(connection: sqlite3.Connection) -> None:
            head = self._head(connection, conversation_id)
            if head is None:
                raise faults.conversation_not_found()
            if fence < head.fence and not late:
                raise faults.taken_over()
            self._keep(connection, conversation_id, head, rows)

        await self._file.run(work)

    async def read(self, conversation_id: str, owner: str) -> StoredConversation:
        """See `ConversationStore`."""

        def work(connection: sqlite3.Connection) -> tuple[_Head, list[bytes]]:
            return self._owned(connection, conversation_id, owner), _bodies(connection, conversation_id)

        head, bodies = await self._file.run(work, writes=False)
        return StoredConversation(head.conversation(), await events_from_rows(bodies))

    async def list_page(self, owner: str, page_size: int, page_token: str = "") -> ConversationPage:
        """See `ConversationStore`."""
        before = last_key_of(page_token)
        count = page_count(page_size)

        def work(connection: sqlite3.Connection) -> list[tuple[str, bytes, str, int]]:
            return connection.execute(
                "SELECT sort_key, body, title, update_us FROM conversations"
                " WHERE owner = ? AND expire_us > ? AND sort_key < ? ORDER BY sort_key DESC LIMIT ?",
                (owner, to_microseconds(self._now()), before or _AFTER_EVERY_KEY, count + 1),
            ).fetchall()

        return page_of(await self._file.run(work, writes=False), count)

    async def rename(self, conversation_id: str, owner: str, title: str) -> Conversation:
        """See `ConversationStore`."""
        renamed = Renamed(title, self._now())

        def work(connection: sqlite3.Connection) -> _Head:
            head = self._owned(connection, conversation_id, owner)
            connection.execute(
                "UPDATE conversations SET title = ? WHERE conversation_id = ?", (title, conversation_id)
            )
            # The title counts in any case; a full log goes without the event.
            rows = event_rows(head.fence, [renamed], self._limits)
            if self._has_room(head, 1, len(rows[0].body)):
                self._keep(connection, conversation_id, head, rows)
            return self._owned(connection, conversation_id, owner)

        return (await self._file.run(work)).conversation()

    async def delete(self, conversation_id: str, owner: str) -> None:
        """See `ConversationStore`. What was said is overwritten in the file, not only unlinked from it."""

        def work(connection: sqlite3.Connection) -> None:
            self._owned(connection, conversation_id, owner)
            connection.execute("DELETE FROM conversations WHERE conversation_id = ?", (conversation_id,))

        await self._file.run(work, then="PRAGMA wal_checkpoint(TRUNCATE)")

    async def ping(self) -> None:
        """See `ConversationStore`."""
        await self._file.run(lambda connection: connection.execute("SELECT 1").fetchone(), writes=False)

    async def close(self) -> None:
        """See `ConversationStore`."""
        await self._file.close()

    def _owned(self, connection: sqlite3.Connection, conversation_id: str, owner: str) -> _Head:
        head = self._head(connection, conversation_id)
        if head is None or head.owner != owner:
            raise faults.conversation_not_found()
        return head

    def _head(self, connection: sqlite3.Connection, conversation_id: str) -> _Head | None:
        row = connection.execute(
            "SELECT owner, body, title, update_us, fence, event_count, byte_count FROM conversations"
            " WHERE conversation_id = ? AND expire_us > ?",
            (conversation_id, to_microseconds(self._now())),
        ).fetchone()
        return None if row is None else _Head(*row)

    def _has_room(self, head: _Head, count: int, byte_count: int) -> bool:
        return (
            head.event_count + count <= self._limits.conversation_max_count
            and head.byte_count + byte_count <= self._limits.conversation_max_bytes
        )

    def _keep(
        self, connection: sqlite3.Connection, conversation_id: str, head: _Head, rows: Sequence[EventRow]
    ) -> None:
        """Insert what is new. Raises CONVERSATION_FULL, upon which the transaction must be rolled back."""
        count, byte_count = 0, 0
        for row in rows:
            inserted = connection.execute(
                "INSERT INTO events (conversation_id, event_key, body) VALUES (?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (conversation_id, row.key, row.body),
            ).rowcount
            count += inserted
            byte_count += inserted * len(row.body)
        if count and not self._has_room(head, count, byte_count):
            raise faults.conversation_full()
        connection.execute(
            "UPDATE conversations SET update_us = ?, expire_us = ?, event_count = event_count + ?,"
            " byte_count = byte_count + ? WHERE conversation_id = ?",
            (to_microseconds(self._now()), self._expire_us(), count, byte_count, conversation_id),
        )

    def _prune(self, connection: sqlite3.Connection, conversation_id: str = "") -> None:
        connection.execute(
            "DELETE FROM conversations WHERE expire_us <= ?1 AND (conversation_id = ?2 OR conversation_id IN"
            " (SELECT conversation_id FROM conversations WHERE expire_us <= ?1 ORDER BY expire_us LIMIT ?3))",
            (to_microseconds(self._now()), conversation_id, _PRUNE_MAX_COUNT),
        )

    def _expire_us(self) -> int:
        return to_microseconds(self._now()) + 1000 * self._limits.time_to_live_ms


def _bodies(connection: sqlite3.Connection, conversation_id: str) -> list[bytes]:
    rows = connection.execute(
        "SELECT body FROM events WHERE conversation_id = ? ORDER BY event_id", (conversation_id,)
    )
    return [body for (body,) in rows]
