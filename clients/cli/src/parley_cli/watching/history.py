"""`History`: the scrapes of one process in the last minute. Pure: times are the caller's. Used by `parley top`."""

from collections import deque

from parley_cli.watching.samples import Samples

WINDOW_S = 60.0
_NOTHING = Samples()


class History:
    """Scrapes with their times. A process that was started again begins anew, because its counters do."""

    def __init__(self) -> None:
        self._scrapes: deque[tuple[float, Samples]] = deque()
        self.problem: str | None = None

    def add(self, at_s: float, samples: Samples) -> None:
        """A scrape succeeded at `at_s`, on a clock that never goes back."""
        self.problem = None
        if self._scrapes and _began(samples) != _began(self.latest):
            self._scrapes.clear()
        self._scrapes.append((at_s, samples))
        # One that is older than the window stays: differences to it cover the whole window.
        while len(self._scrapes) > 1 and self._scrapes[1][0] <= at_s - WINDOW_S:
            self._scrapes.popleft()

    def fail(self, problem: str) -> None:
        """A scrape failed; what is known is kept, because the next one may succeed."""
        self.problem = problem

    @property
    def latest(self) -> Samples:
        """The last scrape; empty before the first."""
        return self._scrapes[-1][1] if self._scrapes else _NOTHING

    @property
    def minute_ago(self) -> Samples | None:
        """The scrape that differences of the last minute are taken to; None until there are two."""
        return self._scrapes[0][1] if len(self._scrapes) > 1 else None

    @property
    def before(self) -> Samples | None:
        """The last scrape but one."""
        return self._scrapes[-2][1] if len(self._scrapes) > 1 else None

    @property
    def window_s(self) -> float:
        """How long a time `minute_ago` covers."""
        return self._scrapes[-1][0] - self._scrapes[0][0] if self._scrapes else 0.0

    @property
    def step_s(self) -> float:
        """How long before the last scrape the one before was."""
        return self._scrapes[-1][0] - self._scrapes[-2][0] if len(self._scrapes) > 1 else 0.0


def _began(samples: Samples) -> float | None:
    return samples.value("process_start_time_seconds")
