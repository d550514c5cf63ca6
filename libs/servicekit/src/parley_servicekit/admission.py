"""`Admission`: lets RPCs in while the process serves and has room, refuses the rest at once, counts them.

`process` puts it in front of every RPC but those of gRPC itself (health, reflection), inside
`FaultInterceptor`, which turns its refusals into statuses.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from parley_servicekit.faults import Fault
from parley_servicekit.grpc_handlers import Behaviour, wrap_handler

_RETRY_MS = 1000
_DRAINING = ("DRAINING", "going away, call again elsewhere")


class Admission(grpc.aio.ServerInterceptor):
    """Closed until `open`; after `close` new RPCs are refused and those that run go on."""

    def __init__(self, rpc_max_count: int, uncounted: frozenset[str] = frozenset()) -> None:
        """uncounted: full names of methods that are let in while open, but neither counted nor waited for."""
        self.rpc_max_count = rpc_max_count
        self._uncounted = uncounted
        self._refusal: tuple[str, str] | None = ("NOT_READY", "still starting")
        self._idle = asyncio.Event()
        self._idle.set()
        self._running: set[asyncio.Timeout] = set()

    @property
    def running_count(self) -> int:
        """How many admitted RPCs run."""
        return len(self._running)

    def open(self) -> None:
        """Let RPCs in."""
        self._refusal = None

    def close(self) -> None:
        """Let no RPC in any more."""
        self._refusal = _DRAINING

    def cut(self) -> None:
        """End what still runs: servicers are cancelled, callers get DRAINING."""
        now = asyncio.get_running_loop().time()
        for deadline in self._running:
            deadline.reschedule(now)

    async def wait_idle(self) -> None:
        """Return as soon as no admitted RPC runs."""
        await self._idle.wait()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Called by grpc.aio for each RPC. Raises Fault while closed."""
        if handler_call_details.method.startswith("/grpc."):
            return await continuation(handler_call_details)
        if self._refusal is not None:
            raise Fault.unavailable(*self._refusal, retry_after_ms=_RETRY_MS)
        handler = await continuation(handler_call_details)
        if handler_call_details.method in self._uncounted:
            return handler
        return None if handler is None else wrap_handler(handler, self._admit)

    def _admit(self, behaviour: Behaviour) -> Behaviour:
        async def admitted(request: Any, context: Any) -> Any:
            if self.running_count >= self.rpc_max_count:
                raise Fault.capacity("AT_CAPACITY", "too many calls at once", retry_after_ms=_RETRY_MS)
            deadline = asyncio.timeout(None)
            self._running.add(deadline)
            self._idle.clear()
            try:
                async with deadline:
                    return await behaviour(request, context)
            except TimeoutError:
                if deadline.expired():
                    raise Fault.unavailable(*_DRAINING, retry_after_ms=_RETRY_MS) from None
                raise
            finally:
                self._running.discard(deadline)
                if not self._running:
                    self._idle.set()

        return admitted
