"""Faults over real gRPC on loopback: all four kinds of RPC, and what the log says of the unexpected."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import grpc.aio
import pytest

from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.grpc_faults import FaultInterceptor, fault_from_rpc_error
from parley_servicekit.grpc_server import new_server
from parley_servicekit.logs import configure_logs

Connect = Callable[[str], AbstractAsyncContextManager[Any]]
KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
SECRET = "what the person said"


def failure(name: bytes) -> BaseException:
    fault = Fault.caller("BAD_WORD", "that word is not allowed", field="word", metadata={"limit": "7"})
    return {
        b"fault": fault,
        b"group": ExceptionGroup("tasks", [fault]),
        b"capacity": Fault.capacity("AT_CAPACITY", "full", retry_after_ms=250),
        b"abandoned": Fault("ABANDONED", "the caller went away", code=FaultCode.CANCELLED),
        b"unexpected": ValueError(SECRET),
        b"mixed group": ExceptionGroup("tasks", [fault, ValueError(SECRET)]),
    }[name]


class Failing:
    """Each method fails as the request says; `closed` tells that a stream's clean-up has run."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.closed = asyncio.Event()

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        if request == b"abort":
            await context.abort(grpc.StatusCode.DATA_LOSS, "by hand")
        raise failure(request)

    async def unary_stream(self, request: bytes, _context: Any) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            if request == b"wait":
                await asyncio.Event().wait()
            raise failure(request)
        finally:
            self.closed.set()

    async def stream_unary(self, requests: AsyncIterator[bytes], _context: Any) -> bytes:
        async for request in requests:
            raise failure(request)
        return b""

    async def stream_stream(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """In the style that reads and writes."""
        async for request in requests:
            if request == b"while writing":
                await self._fail_while_writing(context)
            await context.write(b"first")
            raise failure(request)

    async def _fail_while_writing(self, context: Any) -> None:
        begun = asyncio.Event()

        async def write() -> None:
            begun.set()
            await context.write(b"first")

        async def fail() -> None:
            await begun.wait()
            raise failure(b"fault")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(), name="write")
            tasks.create_task(fail(), name="fail")


class Refusing(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        if dict(handler_call_details.invocation_metadata or ()).get("key") == "wrong":
            raise Fault.unauthenticated("KEY_REFUSED", "this key is not valid")
        return await continuation(handler_call_details)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logs("test", stream=stream)
    yield stream


@pytest.fixture
async def failing(connect: Connect) -> AsyncIterator[tuple[Failing, Any]]:
    servicer = Failing()
    methods: dict[str, Any] = {
        "UnaryUnary": grpc.unary_unary_rpc_method_handler(servicer.unary_unary),
        "UnaryStream": grpc.unary_stream_rpc_method_handler(servicer.unary_stream),
        "StreamUnary": grpc.stream_unary_rpc_method_handler(servicer.stream_unary),
        "StreamStream": grpc.stream_stream_rpc_method_handler(servicer.stream_stream),
    }
    server = new_server([FaultInterceptor("asr.parley", servicer.told.append), Refusing()])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Failing", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with connect(f"127.0.0.1:{port}") as channel:
            yield servicer, channel
    finally:
        await server.stop(0)


async def caught(channel: Any, kind: str, request: bytes, **options: Any) -> grpc.aio.AioRpcError:
    method = "/test.Failing/" + "".join(word.capitalize() for word in kind.split("_"))
    call = getattr(channel, kind)(method)(
        iter([request]) if kind.startswith("stream") else request, timeout=10, **options
    )
    with pytest.raises(grpc.aio.AioRpcError) as error:
        if kind.endswith("stream"):
            async for _response in call:
                pass
        else:
            await call
    return error.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("request_", [b"fault", b"group"])
async def test_a_fault_reaches_the_client_whole(
    failing: tuple[Failing, Any], log: io.StringIO, kind: str, request_: bytes
) -> None:
    fault = fault_from_rpc_error(await caught(failing[1], kind, request_))
    assert (fault.reason, fault.code, fault.domain) == ("BAD_WORD", FaultCode.INVALID_ARGUMENT, "asr.parley")
    assert (fault.message, fault.field) == ("that word is not allowed", "word")
    assert dict(fault.metadata) == {"limit": "7"}
    assert log.getvalue() == ""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_retry_hint_reaches_the_client(failing: tuple[Failing, Any], kind: str) -> None:
    fault = fault_from_rpc_error(await caught(failing[1], kind, b"capacity"))
    assert (fault.code, fault.retry_after_ms) == (FaultCode.RESOURCE_EXHAUSTED, 250)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("request_", [b"unexpected", b"mixed group"])
async def test_the_unexpected_is_internal_logged_once_and_says_nothing_private(
    failing: tuple[Failing, Any], log: io.StringIO, kind: str, request_: bytes
) -> None:
    error = await caught(failing[1], kind, request_)
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["rpc.failed_unexpectedly"]
    assert lines[0]["exception"]["frames"]
    assert SECRET not in log.getvalue() + str(error) + str(error.trailing_metadata())


async def test_an_abort_by_hand_stays_as_it_is(failing: tuple[Failing, Any], log: io.StringIO) -> None:
    error = await caught(failing[1], "unary_unary", b"abort")
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "by hand")
    fault = fault_from_rpc_error(error)
    assert (fault.reason, fault.code) == ("DATA_LOSS", FaultCode.DATA_LOSS)
    assert log.getvalue() == ""


async def test_an_interceptor_further_in_refuses_with_a_fault(failing: tuple[Failing, Any]) -> None:
    error = await caught(failing[1], "stream_stream", b"fault", metadata=(("key", "wrong"),))
    assert fault_from_rpc_error(error).reason == "KEY_REFUSED"


async def test_every_fault_that_is_told_is_told_of_and_one_of_a_caller_who_left_is_not(
    failing: tuple[Failing, Any], log: io.StringIO
) -> None:
    servicer, channel = failing
    for kind in KINDS:
        await caught(channel, kind, b"fault")
    await caught(channel, "unary_unary", b"unexpected")
    await caught(channel, "unary_unary", b"abandoned")
    await caught(channel, "unary_unary", b"abort")
    await caught(channel, "stream_stream", b"fault", metadata=(("key", "wrong"),))
    assert servicer.told == ["BAD_WORD"] * 4 + ["INTERNAL", "KEY_REFUSED"]


async def test_a_fault_while_the_first_response_is_written_reaches_the_client(
    failing: tuple[Failing, Any],
) -> None:
    """Without `grpc_first_write` the client waits until its deadline."""
    fault = fault_from_rpc_error(await caught(failing[1], "stream_stream", b"while writing"))
    assert fault.reason == "BAD_WORD"


async def test_a_refusal_keeps_its_reason_while_the_client_still_writes(failing: tuple[Failing, Any]) -> None:
    """Without `grpc_early_status` about half of these are INTERNAL."""
    reasons = set()
    for _attempt in range(100):
        call = failing[1].stream_stream("/test.Failing/StreamStream")(
            iter([b"fault"] * 3), metadata=(("key", "wrong"),)
        )
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for _response in call:
                pass
        reasons.add(fault_from_rpc_error(error.value).reason)
    assert reasons == {"KEY_REFUSED"}


async def test_a_cancelled_stream_cleans_up_in_the_servicer(
    failing: tuple[Failing, Any], log: io.StringIO
) -> None:
    servicer, channel = failing
    call = channel.unary_stream("/test.Failing/UnaryStream")(b"wait")
    assert await call.read() == b"first"
    assert not servicer.closed.is_set()
    call.cancel()
    async with asyncio.timeout(10):
        await servicer.closed.wait()
    assert log.getvalue() == ""


async def test_a_method_that_does_not_exist_is_unimplemented(failing: tuple[Failing, Any]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await failing[1].unary_unary("/test.Failing/Nothing")(b"")
    assert fault_from_rpc_error(error.value).code is FaultCode.UNIMPLEMENTED


@pytest.mark.parametrize("details", [b"", b"\xff\xff", b"\x08\x0e"])
def test_details_that_lie_or_are_malformed_are_ignored(details: bytes) -> None:
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", details))
    error = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailers, SECRET)
    fault = fault_from_rpc_error(error)
    assert (fault.reason, fault.code) == ("NOT_FOUND", FaultCode.NOT_FOUND)
    assert SECRET not in str(fault)
