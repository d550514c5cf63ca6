"""How late the event loop is: what blocks it delays every conversation at once. Run by `process` in every process."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Ten wake-ups a second cost nothing that can be measured, and a block of 50 ms is seen every second time.
_EVERY_S = 0.1


@contextmanager
def observed_loop_lag(
    observe: Callable[[float], None], clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """While the block lasts, `observe` is told every 100 ms how many seconds late the loop called. clock: seconds."""
    loop = asyncio.get_running_loop()

    timer: asyncio.TimerHandle

    def ask() -> None:
        nonlocal timer
        timer = loop.call_later(_EVERY_S, look, clock() + _EVERY_S)

    def look(due_s: float) -> None:
        observe(max(0.0, clock() - due_s))
        ask()

    ask()
    try:
        yield
    finally:
        timer.cancel()
