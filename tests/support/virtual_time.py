"""An event loop whose clock jumps to the next timer when nothing else is to be done: hours pass in milliseconds.

Waiting for what can never come is an error at once. Without sockets; those need real time.
"""

import asyncio
import selectors
from typing import Any

_THREAD_MAX_S = 10.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now_s = 1000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._virtual_loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            # Nothing is planned: only a thread at work can change that, within a moment of real time.
            found = super().select(_THREAD_MAX_S)
            assert found, "every task waits for something that nobody will do"
            return found
        # A microsecond for every turn of the loop, as if work took time: what waits for nothing must not wait for ever.
        self._virtual_loop.advance(max(timeout, 1e-6))
        return super().select(0)
