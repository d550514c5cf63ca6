"""`Slots`: how many answers are written at once, and who waits for how long. Used by `chat`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parley_llm import faults
from parley_servicekit.queue_metrics import QueueMetrics


class Slots:
    """`count` holders at once, first come first served; a bounded number wait, for a bounded time.

    Model servers queue without limit and without telling, so the queue is kept here.
    """

    def __init__(
        self, count: int, queue_max_count: int, queue_timeout_ms: int, queue: QueueMetrics | None = None
    ) -> None:
        """queue: told of every wait."""
        self._queue = queue or QueueMetrics.unregistered()
        self._free = asyncio.Semaphore(count)
        self._queue_max_count = queue_max_count
        self._queue_timeout_ms = queue_timeout_ms
        self.queued_count = 0
        self.taken_count = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold a slot while the context lasts. Raises Fault (RESOURCE_EXHAUSTED): AT_CAPACITY, QUEUE_TIMEOUT."""
        await self._take()
        self.taken_count += 1
        try:
            yield
        finally:
            self.taken_count -= 1
            self._free.release()

    async def _take(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            self._queue.no_wait()
            return
        if self.queued_count >= self._queue_max_count:
            raise faults.at_capacity(retry_after_ms=self._queue_timeout_ms)
        self.queued_count += 1
        try:
            with self._queue.waiting():
                async with asyncio.timeout(self._queue_timeout_ms / 1000):
                    await self._free.acquire()
        except TimeoutError:
            raise faults.queue_timeout(self._queue_timeout_ms) from None
        finally:
            self.queued_count -= 1
