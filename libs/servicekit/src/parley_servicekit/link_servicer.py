"""`LinkServicer`: serves links, with the method handlers and interceptors of the process. Registered by `process`."""

import asyncio
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from parley.link.v1 import link_service_pb2 as pb
from parley.link.v1.link_service_pb2_grpc import LinkServiceServicer
from parley_servicekit.faults import Fault
from parley_servicekit.link_client import INSTANCE_KEY
from parley_servicekit.link_flow import violation
from parley_servicekit.link_frames import FrameQueue
from parley_servicekit.served_link import FindMethod, ServedLink

CONNECT = "/parley.link.v1.LinkService/Connect"
_LINK_MAX_COUNT = 64
_RETRY_MS = 1000


def find_method(
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    handlers: grpc.GenericRpcHandler,
    service_names: Sequence[str],
) -> FindMethod:
    """What a server with these interceptors and handlers would call; only methods of these services are found."""

    async def find(details: grpc.HandlerCallDetails) -> Any:
        return handlers.service(details)

    chain: Any = find
    for interceptor in reversed(interceptors):
        chain = partial(interceptor.intercept_service, chain)
    reachable = tuple(f"/{name}/" for name in service_names)

    async def find_reachable(details: grpc.HandlerCallDetails) -> Any:
        return await chain(details) if details.method.startswith(reachable) else None

    return find_reachable


class LinkServicer(LinkServiceServicer):
    """Every link of a process."""

    def __init__(self, find: FindMethod, draining: asyncio.Event, domain: str) -> None:
        self._find = find
        self._domain = domain
        self._draining = draining
        self._instance = uuid.uuid4().hex
        self._link_count = 0

    async def Connect(self, _requests: Any, context: Any) -> None:  # type: ignore[override]  # reads and writes itself
        """See the proto."""
        if self._link_count >= _LINK_MAX_COUNT:
            raise Fault.capacity("AT_CAPACITY", "too many links at once", retry_after_ms=_RETRY_MS)
        self._link_count += 1
        try:
            await context.send_initial_metadata(((INSTANCE_KEY, self._instance),))
            async with asyncio.TaskGroup() as tasks:
                link = ServedLink(self._find, tasks, self._domain)
                background = [
                    tasks.create_task(self._write_out(link.queue, context), name="link.write"),
                    tasks.create_task(self._tell_drain(link.queue), name="link.drain"),
                ]
                try:
                    while (request := await context.read()) is not grpc.aio.EOF:
                        link.receive(request.frames)
                except DecodeError:
                    raise violation("bytes that are no message") from None
                finally:
                    link.close()
                    for task in background:
                        task.cancel()
        finally:
            self._link_count -= 1

    async def _write_out(self, queue: FrameQueue, context: Any) -> None:
        while True:
            frames = await queue.batch()
            await context.write(pb.ConnectResponse(frames=frames, is_draining=self._draining.is_set()))

    async def _tell_drain(self, queue: FrameQueue) -> None:
        await self._draining.wait()
        queue.wake()
