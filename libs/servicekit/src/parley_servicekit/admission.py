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


class Admission(grpc.aio.ServerInterceptor):
    """Closed until `open`; after `close` new RPCs are refused and those that run go on."""

    def __init__(self, rpc_max_count: int) -> None:
        self.rpc_max_count = rpc_max_count
        self._refusal: tuple[str, str] | None = ("NOT_READY", "still starting")
        self._idle = asyncio.Event()
        self._idle.set()
        self.running_count = 0

    def open(self) -> None:
        """Let RPCs in."""
        self._refusal = None

    def close(self) -> None:
        """Let no RPC in any more."""
        self._refusal = ("DRAINING", "going away, call again elsewhere")

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
        return None if handler is None else wrap_handler(handler, self._admit)

    def _admit(self, behaviour: Behaviour) -> Behaviour:
        async def admitted(request: Any, context: Any) -> Any:
            if self.running_count >= self.rpc_max_count:
                raise Fault.capacity("AT_CAPACITY", "too many calls at once", retry_after_ms=_RETRY_MS)
            self.running_count += 1
            self._idle.clear()
            try:
                return await behaviour(request, context)
            finally:
                self.running_count -= 1
                if self.running_count == 0:
                    self._idle.set()

        return admitted
