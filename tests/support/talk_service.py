"""A service that does what it is told, behind a server as `process` puts it together. For tests of RPCs and links."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from parley.link.v1.link_service_pb2_grpc import add_LinkServiceServicer_to_server
from parley_servicekit.admission import Admission
from parley_servicekit.faults import Fault
from parley_servicekit.grpc_faults import FaultInterceptor
from parley_servicekit.grpc_handlers import LateServicers
from parley_servicekit.grpc_server import new_server
from parley_servicekit.link_client import LinkChannel
from parley_servicekit.link_servicer import CONNECT, LinkServicer, find_method

SERVICE = "test.Talk"


class Talk:
    """Does what the first request says; remembers how its calls ended."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.abandoned = asyncio.Event()
        self.taken_bytes = 0
        self.written_count = 0
        self.may_read = asyncio.Event()
        self.running_count = 0
        self.metadata: dict[str, Any] = {}
        self.remaining_s: float | None = None

    async def once(self, request: bytes, context: Any) -> bytes:
        if request == b"fault":
            raise _fault()
        return request

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Numbers up to the request's."""
        self.metadata = dict(context.invocation_metadata())
        self.remaining_s = context.time_remaining()
        for number in range(int(request)):
            yield b"%d" % number

    async def flood(self, request: bytes, context: Any) -> None:
        """Messages of so many bytes, for ever."""
        try:
            while True:
                await context.write(bytes(int(request)))
                self.written_count += 1
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def talk(self, requests: AsyncIterator[bytes], context: Any) -> None:
        self.running_count += 1
        try:
            await self._talk(requests, context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.running_count -= 1

    async def _talk(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async for request in requests:
            self.taken_bytes += len(request)
            match request:
                case b"fault":
                    raise _fault()
                case b"capacity":
                    raise Fault.capacity("AT_CAPACITY", "full", retry_after_ms=250)
                case b"bug":
                    raise ValueError("what the person said")
                case b"abort":
                    await context.abort(grpc.StatusCode.DATA_LOSS, "by hand", (("note", "written"),))
                case b"greet":
                    await context.send_initial_metadata((("greeting", "hello"), ("raw-bin", b"\x00\xff")))
                case b"hang":
                    await asyncio.Event().wait()
                case b"wait to read":
                    await self.may_read.wait()
                case b"bye":
                    await context.write(b"bye")
                    return
                case _:
                    await context.write(request)
        self.abandoned.set()


def _fault() -> Fault:
    return Fault.caller("BAD_WORD", "that word is not allowed", field="word", metadata={"limit": "7"})


@asynccontextmanager
async def serving(
    talk: Talk,
    *,
    has_links: bool = True,
    admission: Admission | None = None,
    draining: asyncio.Event | None = None,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[str]:
    """Give the address of a server as `process` puts it together."""
    if admission is None:
        admission = Admission(500, uncounted=frozenset({CONNECT}))
        admission.open()
    interceptors: list[grpc.aio.ServerInterceptor] = [FaultInterceptor("test.parley"), admission]
    methods: dict[str, Any] = {
        "Once": grpc.unary_unary_rpc_method_handler(talk.once),
        "Count": grpc.unary_stream_rpc_method_handler(talk.count),
        "Flood": grpc.unary_stream_rpc_method_handler(talk.flood),
        "Talk": grpc.stream_stream_rpc_method_handler(talk.talk),
    }
    servicers = LateServicers()
    servicers.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    if has_links:
        links = LinkServicer(
            find_method(interceptors, servicers, [SERVICE]), draining or asyncio.Event(), "test.parley"
        )
        registrar: Any = servicers
        add_LinkServiceServicer_to_server(links, registrar)
    server = new_server(interceptors)
    server.add_generic_rpc_handlers((servicers,))
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def linked(channel: grpc.aio.Channel) -> AsyncIterator[LinkChannel]:
    """A channel whose first link is up."""
    async with asyncio.TaskGroup() as tasks:
        links = LinkChannel(channel)
        running = tasks.create_task(links.run(), name="links")
        async with asyncio.timeout(10):
            while not links.link_count:
                await asyncio.sleep(0.01)
        yield links
        running.cancel()
