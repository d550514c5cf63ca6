"""`InstanceSlots`: servers that each take one request at a time, and who waits for them. Called by `gpt_sovits`."""

import asyncio
from collections import deque
from collections.abc import Sequence

from parley_servicekit.queue_metrics import QueueMetrics
from parley_tts import faults


class InstanceSlots:
    """First come, first served; bounded in number and time. A free server that last spoke the voice is preferred."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        waiting_max_count: int,
        wait_timeout_ms: int,
        queue: QueueMetrics | None = None,
    ) -> None:
        """queue: told of every wait."""
        self._queue = queue or QueueMetrics.unregistered()
        self._free = list(urls)
        self._waiters: deque[asyncio.Future[str]] = deque()
        self._waiting_max_count = waiting_max_count
        self._wait_timeout_ms = wait_timeout_ms
        self._last_voices: dict[str, str] = {}

    @property
    def waiting_count(self) -> int:
        """Phrases that wait for a server."""
        return len(self._waiters)

    @property
    def free_count(self) -> int:
        """Servers that nobody uses."""
        return len(self._free)

    async def take(self, voice_name: str) -> str:
        """A server's URL, to be given back with `release`. Empty name: the one that rested longest.

        Raises Fault when too many wait or none is free in time.
        """
        if self._free:
            known = (url for url in self._free if voice_name and self._last_voices.get(url) == voice_name)
            url = next(known, self._free[0])
            self._free.remove(url)
            self._queue.no_wait()
        else:
            url = await self._wait()
        self._last_voices[url] = voice_name
        return url

    def release(self, url: str, after_ms: int = 0) -> None:
        """Give a server back, at once or when it has come to rest."""
        if after_ms > 0:
            asyncio.get_running_loop().call_later(after_ms / 1000, self.release, url)
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(url)
                return
        self._free.append(url)

    async def _wait(self) -> str:
        if len(self._waiters) >= self._waiting_max_count:
            raise faults.engine_busy(0)
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            with self._queue.waiting():
                async with asyncio.timeout(self._wait_timeout_ms / 1000):
                    return await waiter
        except BaseException as error:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            if waiter.done() and not waiter.cancelled():
                self.release(waiter.result())  # given to us in the moment in which we left
            if isinstance(error, TimeoutError):
                raise faults.engine_busy(self._wait_timeout_ms) from None
            raise
