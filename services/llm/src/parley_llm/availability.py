"""`Availability`: tells whether the engine can answer, brings it back when it cannot. Run by `bootstrap`."""

import asyncio
from collections.abc import Awaitable, Callable

from parley_llm.chat import Chat
from parley_llm.metrics import Metrics
from parley_llm.ports import ChatEngine
from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.logs import get_logger

_FIRST_BACKOFF_MS = 100
_log = get_logger()


class Availability:
    """Looks every `check_interval_ms`, at once when the engine says that it is lost, sooner while it is away."""

    def __init__(
        self,
        engine: ChatEngine,
        chat: Chat,
        metrics: Metrics,
        report: Callable[[bool], Awaitable[None]],
        check_interval_ms: int,
    ) -> None:
        """report: awaited with each change, such as for health."""
        self._engine = engine
        self._chat = chat
        self._metrics = metrics
        self._report = report
        self._check_interval_ms = check_interval_ms
        self._is_available: bool | None = None
        self._last_reason = ""

    async def look(self) -> bool:
        """Whether the engine can answer, after all that can be done for it now."""
        try:
            await self._engine.ensure_available()
            if not self._is_available:
                await self._warm_up()
        except Fault as fault:
            if fault.reason != self._last_reason:
                _log.warning("engine.unavailable", reason=fault.reason, message=fault.message)
            self._last_reason = fault.reason
            await self._tell(False)
            return False
        if self._last_reason:
            _log.info("engine.available_again")
        self._last_reason = ""
        await self._tell(True)
        return True

    async def watch(self) -> None:
        """Look again and again until cancelled."""
        backoff_ms = _FIRST_BACKOFF_MS
        while True:
            if self._is_available:
                backoff_ms = _FIRST_BACKOFF_MS
                await self._wait_lost()
            else:
                await asyncio.sleep(backoff_ms / 1000)
                backoff_ms = min(backoff_ms * 2, self._check_interval_ms)
            await self.look()

    async def _wait_lost(self) -> None:
        """Return after the interval, or told of the loss as soon as the engine knows of it."""
        try:
            async with asyncio.timeout(self._check_interval_ms / 1000):
                await self._engine.wait_lost()
        except TimeoutError:
            return
        self._last_reason = "ENGINE_LOST"
        _log.warning("engine.unavailable", reason=self._last_reason)
        await self._tell(False)

    async def _warm_up(self) -> None:
        try:
            warm_up_ms = await self._chat.warm_up("", "")
        except Fault as fault:
            if fault.code is not FaultCode.RESOURCE_EXHAUSTED:  # being busy is being warm
                raise
        else:
            _log.info("engine.warmed_up", duration_ms=warm_up_ms)

    async def _tell(self, is_available: bool) -> None:
        if is_available == self._is_available:
            return
        if self._is_available:
            self._metrics.engine_losses.inc()
        self._is_available = is_available
        self._metrics.available.set(is_available)
        await self._report(is_available)
