"""Keeps the engine able to speak and tells health so. Run by `bootstrap` as a task."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from parley_servicekit.faults import Fault
from parley_servicekit.logs import get_logger
from parley_tts.metrics import Metrics
from parley_tts.ports import SynthesisEngine

_BACKOFF_MIN_S = 0.05
_BACKOFF_MAX_S = 5.0
# An engine that lasted so long may be restarted at once when it is lost.
_STABLE_S = 10.0
_log = get_logger()


async def keep_available(
    engine: SynthesisEngine, tell: Callable[[bool], Awaitable[None]], metrics: Metrics
) -> None:
    """Never returns. `tell`: whether phrases can be spoken, whenever that changes."""
    backoff_s = _BACKOFF_MIN_S
    while True:
        began_at = time.monotonic()
        try:
            await engine.ensure_available()
            await _tell(engine, tell, metrics)
            await engine.wait_lost()
            metrics.engine_losses.inc()
            _log.warning("engine.lost", engine=engine.capabilities.name)
        except Fault as fault:
            _log.warning("engine.unavailable", engine=engine.capabilities.name, reason=fault.reason)
        await _tell(engine, tell, metrics)
        is_stable = time.monotonic() - began_at > _STABLE_S
        backoff_s = _BACKOFF_MIN_S if is_stable else min(2 * backoff_s, _BACKOFF_MAX_S)
        await asyncio.sleep(backoff_s)


async def _tell(engine: SynthesisEngine, tell: Callable[[bool], Awaitable[None]], metrics: Metrics) -> None:
    metrics.available.set(engine.is_available)
    await tell(engine.is_available)
