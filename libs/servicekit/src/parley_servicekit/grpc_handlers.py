"""Method handlers of grpc.aio: wrapped by interceptors, added to a listening server."""

import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc

Behaviour = Callable[[Any, Any], Awaitable[Any]]
"""`await behaviour(request_or_iterator, context)`: a unary RPC's response; None once a stream is written."""


class LateServicers(grpc.GenericRpcHandler):
    """Takes servicers from generated `add_…_to_server` functions at any time, also once the server listens.

    A server listens while its process still warms up, and gRPC's own registration ends when it starts.
    """

    def __init__(self) -> None:
        self._handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Called by generated code."""
        self._handlers.extend(generic_rpc_handlers)

    def add_registered_method_handlers(self, _service: str, _method_handlers: Any) -> None:
        """Called by generated code, with the methods that the generic handlers have too."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method, None where no servicer has it."""
        found = (handler.service(handler_call_details) for handler in self._handlers)
        return next((handler for handler in found if handler is not None), None)


def wrap_handler(handler: Any, wrap: Callable[[Behaviour], Behaviour]) -> Any:
    """A handler like `handler` whose behaviour is `wrap(coroutine that does what handler does)`.

    A servicer's async generator is closed in the same task before the wrapped coroutine ends, however it
    ends, so that its `finally` blocks have run when the RPC is over (grpc.aio itself leaves that to the
    collector).
    """
    if handler.response_streaming:
        behaviour = _written_out(handler.stream_stream if handler.request_streaming else handler.unary_stream)
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
    else:
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
    return make(wrap(behaviour), handler.request_deserializer, handler.response_serializer)


def refusing_handler(refuse: Callable[[Any], Awaitable[None]]) -> Any:
    """A handler that answers any kind of RPC with `await refuse(context)`, which has to abort."""

    async def behaviour(_requests: Any, context: Any) -> None:
        await refuse(context)

    return grpc.stream_stream_rpc_method_handler(behaviour)


def _written_out(behaviour: Any) -> Behaviour:
    """`behaviour` as a coroutine that writes its responses to the context."""
    if not inspect.isasyncgenfunction(behaviour):
        coroutine: Behaviour = behaviour
        return coroutine

    async def write_out(request: Any, context: Any) -> None:
        async with contextlib.aclosing(behaviour(request, context)) as responses:
            async for response in responses:
                await context.write(response)

    return write_out
