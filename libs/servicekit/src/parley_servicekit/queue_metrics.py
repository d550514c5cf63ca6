"""`QueueMetrics`: who waits for a place, and for how long. Made by a process's `metrics.py`, told by its queues."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from prometheus_client import Gauge, Histogram


class QueueMetrics:
    """A gauge and a histogram that belong together."""

    def __init__(self, waiting: Gauge, wait: Histogram, clock: Callable[[], float] = monotonic) -> None:
        """clock: seconds."""
        self._waiting = waiting
        self._wait = wait
        self._clock = clock

    @classmethod
    def unregistered(cls) -> "QueueMetrics":
        """For queues that nobody watches, such as those of tests."""
        waiting = Gauge("waiting", "Nobody reads it.", registry=None)
        return cls(waiting, Histogram("wait_seconds", "Nobody reads it.", registry=None))

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Somebody waits for as long as the block lasts; it also counts when they get nothing in the end."""
        since_s = self._clock()
        self._waiting.inc()
        try:
            yield
        finally:
            self._waiting.dec()
            self._wait.observe(self._clock() - since_s)

    def no_wait(self) -> None:
        """Somebody got a place at once."""
        self._wait.observe(0.0)
