"""`LinkChannel`: a channel whose streaming RPCs share links; see docs/decisions/0015. Made by the gateway's bootstrap.

    links = LinkChannel(channel)
    tasks.create_task(links.run(), name="links")
    stub = RecognitionServiceStub(links)   # as over a plain channel

A call goes over a link where one is up, and else as usual over the channel: while the first link is being made, after
one broke, and to a service that has no LinkService. So nothing waits for a link, and what fails does so as gRPC does.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from parley.link.v1 import link_service_pb2 as pb
from parley.link.v1.link_service_pb2_grpc import LinkServiceStub
from parley_servicekit.link_call import LinkCall, Method, Status
from parley_servicekit.link_flow import violation
from parley_servicekit.link_frames import FrameQueue, MetadataPairs, check_count, write_metadata
from parley_servicekit.logs import get_logger

INSTANCE_KEY = "parley-instance"
# Ids are 32 bit; a link that comes near the end is replaced like one that drains.
_STREAM_ID_MAX = 2**31
_ANSWER_WITHIN_S = 5.0
_LOOK_AGAIN_S = 0.2
# Whether there is a further process behind the name (at first more often: connections are being made), or a newer
# version that has links.
_LOOK_FOR_MORE_FIRST_S, _LOOK_FOR_MORE_S = 0.25, 10.0
_LOOK_FOR_SUPPORT_S = 60.0
_log = get_logger()


class Link:
    """The caller's end of one link: its calls by stream id. No I/O: frames come in and lie in `queue`."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.queue = FrameQueue()
        self.calls: dict[int, LinkCall] = {}
        self.unanswered_count = 0
        self.is_leaving = False
        self._last_id = 0

    def open(self, method: Method, timeout_s: float | None, metadata: MetadataPairs) -> LinkCall:
        """Begin a stream. Raises ValueError for too much metadata."""
        entries = write_metadata(metadata)
        self._last_id += 1
        self.unanswered_count += 1
        self.is_leaving |= self._last_id >= _STREAM_ID_MAX
        stream_id = self._last_id
        call = LinkCall(stream_id, self.queue, method, timeout_s, lambda: self._forget(stream_id))
        self.calls[stream_id] = call
        timeout_ms = 0 if timeout_s is None else max(1, round(timeout_s * 1000))
        begin = pb.OpenStream(method=method.path, timeout_ms=timeout_ms, metadata=entries)
        self.queue.put(pb.Frame(stream_id=stream_id, open=begin))
        return call

    def receive(self, response: pb.ConnectResponse) -> None:
        """What the service sent. Raises the violation."""
        self.unanswered_count = 0
        if response.is_draining:
            self.leave()
        check_count(response.frames)
        for frame in response.frames:
            call = self.calls.get(frame.stream_id)
            if call is not None:
                call.receive(frame)
            elif not 0 < frame.stream_id <= self._last_id:
                raise violation("a stream that was never opened")

    def leave(self) -> None:
        """Open no further streams; the link ends with the last one."""
        self.is_leaving = True
        self.queue.wake()

    def close(self) -> None:
        """The link is gone, and with it all its streams."""
        self.is_leaving = True
        for call in tuple(self.calls.values()):
            call.end(Status(grpc.StatusCode.UNAVAILABLE, "the link to the service broke"))

    def _forget(self, stream_id: int) -> None:
        del self.calls[stream_id]
        if self.is_leaving:
            self.queue.wake()


class LinkChannel:
    """Stands for `channel`. `run` has to run for links to be made."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel: Any = channel
        self._links: list[Link] = []
        self._lost = asyncio.Event()
        self._more_s = _LOOK_FOR_MORE_FIRST_S

    def __getattr__(self, name: str) -> Any:
        """All else, such as unary calls, is the channel's own."""
        return getattr(self._channel, name)

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **options: Any
    ) -> Callable[..., Any]:
        """See grpc.aio.Channel."""
        plain = self._channel.unary_stream(method, request_serializer, response_deserializer, **options)
        described = Method(method, request_serializer, response_deserializer)

        def call(request: Any, *, timeout: float | None = None, metadata: MetadataPairs = None) -> Any:
            link = self._pick()
            if link is None:
                return plain(request, timeout=timeout, metadata=metadata)
            made = link.open(described, timeout, metadata)
            made.begin_with(request)
            return made

        return call

    def stream_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **options: Any
    ) -> Callable[..., Any]:
        """See grpc.aio.Channel. A call that is given its requests as an iterator goes as usual."""
        plain = self._channel.stream_stream(method, request_serializer, response_deserializer, **options)
        described = Method(method, request_serializer, response_deserializer)

        def call(
            requests: Any = None, *, timeout: float | None = None, metadata: MetadataPairs = None
        ) -> Any:
            link = self._pick()
            if link is None or requests is not None:
                return plain(requests, timeout=timeout, metadata=metadata)
            return link.open(described, timeout, metadata)

        return call

    async def run(self) -> None:
        """Keep a link to every process behind the channel, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._lost.clear()
                wait_s = await self._look(tasks)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._lost.wait()
                        await asyncio.sleep(_LOOK_AGAIN_S)

    @property
    def link_count(self) -> int:
        """Links that take streams. May be asked by any thread, as may `stream_count`."""
        return sum(not link.is_leaving for link in tuple(self._links))

    @property
    def stream_count(self) -> int:
        """Streams open on all links, those that take no more included."""
        return sum(len(link.calls) for link in tuple(self._links))

    def _pick(self) -> Link | None:
        """The link with the fewest streams. One that has stopped answering gets none while there are others."""
        usable = [link for link in self._links if not link.is_leaving]
        return min(usable, key=lambda link: (link.unanswered_count, len(link.calls)), default=None)

    async def _look(self, tasks: asyncio.TaskGroup) -> float:
        """Make one link, if it leads where none leads yet. The result is how many seconds to wait before the next."""
        call: Any = LinkServiceStub(self._channel).Connect(wait_for_ready=True)
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                metadata = await call.initial_metadata()
                instance = metadata.get(INSTANCE_KEY)
                if instance is None:
                    code = await call.code()
                    return _LOOK_FOR_SUPPORT_S if code is grpc.StatusCode.UNIMPLEMENTED else _LOOK_AGAIN_S
        except (grpc.aio.AioRpcError, TimeoutError):
            call.cancel()
            return _LOOK_AGAIN_S
        except BaseException:
            call.cancel()
            raise
        if any(link.instance == instance and not link.is_leaving for link in self._links):
            call.cancel()
            self._more_s = min(2 * self._more_s, _LOOK_FOR_MORE_S)
            return self._more_s
        link = Link(instance)
        self._links.append(link)
        self._more_s = _LOOK_FOR_MORE_FIRST_S
        tasks.create_task(self._carry(link, call), name="link")
        return 0.0

    def _receive(self, link: Link, response: pb.ConnectResponse) -> None:
        was_leaving = link.is_leaving
        link.receive(response)
        if link.is_leaving and not was_leaving:
            self._lost.set()

    async def _carry(self, link: Link, call: Any) -> None:
        """Carry frames until the link breaks or is no longer needed."""
        _log.info("link.up")
        try:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(_write_out(link, call), name="link.write")
                while (response := await call.read()) is not grpc.aio.EOF:
                    if response is None:  # so grpc.aio tells what cannot be parsed
                        raise violation("bytes that are no message")
                    self._receive(link, response)
                writing.cancel()
            _log.info("link.ended")
        except* grpc.aio.AioRpcError:
            _log.warning("link.lost")
        except* Exception as errors:  # a bug of either end costs this link only
            _log.error("link.failed", exc_info=errors)
        finally:
            self._links.remove(link)
            link.close()
            call.cancel()
            self._lost.set()


async def _write_out(link: Link, call: Any) -> None:
    while not (link.is_leaving and not link.calls):
        frames = await link.queue.batch()
        if frames:
            await call.write(pb.ConnectRequest(frames=frames))
    await call.done_writing()
