"""`LinkContext`: what a servicer works with in an RPC that came over a link, in place of grpc.aio's own context.

Made by `link_servicer`. It has what servicers and interceptors of Parley use, with the meaning it has in grpc.aio.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Never

import grpc
import grpc.aio
from grpc.aio import Metadata

from parley.link.v1 import link_service_pb2 as pb
from parley_servicekit.link_frames import FrameQueue, MetadataPairs, write_metadata
from parley_servicekit.link_stream import LinkStream


class LinkContext:
    """One RPC at the service's end: the wire's side for `link_servicer`, the context's side for servicers."""

    def __init__(
        self, stream: LinkStream, queue: FrameQueue, metadata: Metadata, timeout_s: float | None
    ) -> None:
        self.stream = stream
        self._queue = queue
        self._metadata = metadata
        self._deadline_s = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        self._deserialize: Callable[[bytes], Any] | None = None
        self._serialize: Callable[[Any], bytes] | None = None
        self._has_begun = False
        self._code = grpc.StatusCode.OK
        self._details = ""
        self._trailing_metadata: MetadataPairs = ()
        self._callbacks: list[Callable[[Any], None]] = []

    # For the link.

    def use(self, handler: Any) -> None:
        """Messages are what this method handler says."""
        self._deserialize, self._serialize = handler.request_deserializer, handler.response_serializer

    def status(self) -> pb.StreamStatus:
        """The status that the servicer has chosen; OK if none."""
        try:
            trailing = write_metadata(self._trailing_metadata)
        except ValueError:
            trailing = []  # the code and the message get through, the details cannot
        return pb.StreamStatus(code=self._code.value[0], message=self._details, trailing_metadata=trailing)

    def finish(self) -> None:
        """The RPC is over."""
        for callback in self._callbacks:
            callback(self)

    # For servicers.

    async def read(self) -> Any:
        """The next request; grpc.aio.EOF after the last."""
        message = await self.stream.read()
        if message is None:
            return grpc.aio.EOF
        return message if self._deserialize is None else self._deserialize(message)

    async def requests(self) -> AsyncIterator[Any]:
        """The requests, for servicers that take an iterator."""
        while (request := await self.read()) is not grpc.aio.EOF:
            yield request

    async def write(self, response: Any) -> None:
        """Send a response; waits for credit. Raises InvalidStateError when the RPC is over."""
        self._has_begun = True
        message = response if self._serialize is None else self._serialize(response)
        if not await self.stream.write(message):
            raise asyncio.InvalidStateError("the RPC is over")

    async def send_initial_metadata(self, metadata: MetadataPairs) -> None:
        """Send metadata ahead of the first response."""
        if self._has_begun:
            raise asyncio.InvalidStateError("initial metadata has been sent")
        self._has_begun = True
        begin = pb.StreamMetadata(metadata=write_metadata(metadata))
        if not self.stream.is_over:
            self._queue.put(pb.Frame(stream_id=self.stream.stream_id, initial_metadata=begin))

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: MetadataPairs = ()
    ) -> Never:
        """End the RPC with a status."""
        self._code, self._details, self._trailing_metadata = code, details, trailing_metadata
        raise grpc.aio.AbortError("aborted by the servicer")

    async def abort_with_status(self, status: Any) -> Never:
        """End the RPC with a grpc.Status."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_code(self, code: grpc.StatusCode) -> None:
        """What the RPC will end with."""
        self._code = code

    def set_details(self, details: str) -> None:
        """What the status will say."""
        self._details = details

    def set_trailing_metadata(self, metadata: MetadataPairs) -> None:
        """What comes with the status."""
        self._trailing_metadata = metadata

    def invocation_metadata(self) -> Metadata:
        """The caller's metadata."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline."""
        if self._deadline_s is None:
            return None
        return max(0.0, self._deadline_s - asyncio.get_running_loop().time())

    def cancelled(self) -> bool:
        """Whether the caller has cancelled the RPC."""
        return self.stream.is_over

    def done(self) -> bool:
        """Whether nothing more can be sent."""
        return self.stream.is_over

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call `callback` with this context when the RPC is over."""
        self._callbacks.append(callback)
