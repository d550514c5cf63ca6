"""Every kind of conversation store, over real backends, plain and with the queue in front."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from parley_gateway.adapters.conversation_rows import StoreLimits
from parley_gateway.adapters.memory_conversations import MemoryConversations
from parley_gateway.adapters.queueing_conversations import QueueingConversations
from parley_gateway.adapters.redis_conversations import RedisConversations
from parley_gateway.adapters.sqlite_conversations import SqliteConversations
from parley_gateway.ports import ConversationStore

PLAIN_KINDS = ["memory", "sqlite", "redis"]
KINDS = [*PLAIN_KINDS, *(f"queued-{kind}" for kind in PLAIN_KINDS)]


@asynccontextmanager
async def queued(
    store: ConversationStore,
    spool: Path,
    limits: StoreLimits | None = None,
    spool_max_bytes: int = 10_000_000,
) -> AsyncIterator[QueueingConversations]:
    """A queue over `store`, running."""
    queue = await QueueingConversations.over(store, spool, limits, spool_max_bytes=spool_max_bytes)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(queue.run(), name="queue")
        try:
            yield queue
        finally:
            running.cancel()
    await queue.close()


@dataclass
class Backend:
    """One kind of store; every `store()` is another gateway's view of the same conversations."""

    kind: str
    folder: Path
    redis_url: str
    shared_memory: dict[StoreLimits, MemoryConversations] = field(default_factory=dict)

    @asynccontextmanager
    async def store(self, limits: StoreLimits | None = None) -> AsyncIterator[ConversationStore]:
        limits = limits or StoreLimits()
        plain = self._plain(limits)
        if self.kind.startswith("queued-"):
            async with queued(plain, self.folder / uuid.uuid4().hex, limits) as queue:
                yield queue
        else:
            try:
                yield plain
            finally:
                await plain.close()

    def _plain(self, limits: StoreLimits) -> ConversationStore:
        if self.kind.endswith("memory"):
            return self.shared_memory.setdefault(limits, MemoryConversations(limits))
        if self.kind.endswith("sqlite"):
            return SqliteConversations(self.folder / "state" / "conversations.sqlite", limits)
        return RedisConversations(self.redis_url, limits)
