"""The engines' public services at the gateway's address: calls are passed on as they are, bytes for bytes.

A client needs only the gateway. RPCs that are for operators alone are not passed on.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor

from parley_gateway.service_calls import service_fault

_NOT_PROXIED = frozenset({"WatchLoad"})
_DEADLINE_S = 3600.0
_STATUS_KEY = "grpc-status-details-bin"


def proxy_handler(
    descriptor: ServiceDescriptor, service: str, channel: grpc.aio.Channel
) -> grpc.GenericRpcHandler:
    """A handler for `descriptor`'s methods that passes calls on over `channel` to `service` (asr, llm, tts)."""
    handlers: dict[str, Any] = {
        method.name: grpc.stream_stream_rpc_method_handler(
            _Forwarder(f"/{descriptor.full_name}/{method.name}", service, channel).forward
        )
        for method in descriptor.methods
        if method.name not in _NOT_PROXIED
    }
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


class _Forwarder:
    """One method. On the wire a unary message is a stream of one, so that one forwarder serves all four kinds."""

    def __init__(self, path: str, service: str, channel: grpc.aio.Channel) -> None:
        self._call: Any = channel.stream_stream(path)
        self._service = service

    async def forward(self, requests: AsyncIterator[bytes], context: Any) -> None:
        remaining_s = context.time_remaining()
        call: Any = self._call(timeout=_DEADLINE_S if remaining_s is None else min(remaining_s, _DEADLINE_S))
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(_send(requests, call), name="proxy.send")
                while (response := await call.read()) is not grpc.aio.EOF:
                    await context.write(response)
                sending.cancel()
            await self._end(call, context)
        except* grpc.aio.AioRpcError as group:
            error = group.exceptions[0]
            assert isinstance(error, grpc.aio.AioRpcError)
            raise service_fault(self._service, error) from error
        finally:
            call.cancel()

    async def _end(self, call: Any, context: Any) -> None:
        """End as the service did: with its own status, or with our fault where gRPC itself failed."""
        code = await call.code()
        if code is grpc.StatusCode.OK:
            return
        trailers = await call.trailing_metadata() or ()
        details = tuple((key, value) for key, value in trailers if key == _STATUS_KEY)
        if not details:
            error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), await call.details())
            raise service_fault(self._service, error)
        await context.abort(code, await call.details(), details)


async def _send(requests: AsyncIterator[bytes], call: Any) -> None:
    """Requests to the service, until there are no more or the call is over; who reads it learns how it ended."""
    try:
        async for request in requests:
            await call.write(request)
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        if not call.done():
            raise
