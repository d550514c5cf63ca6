"""`ServedLink`: the service's end of one link, without I/O. Made by `link_servicer`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from grpc_status import rpc_status

from parley.link.v1 import link_service_pb2 as pb
from parley_servicekit.faults import Fault
from parley_servicekit.grpc_faults import status_from_fault
from parley_servicekit.grpc_handlers import wrap_handler
from parley_servicekit.link_context import LinkContext
from parley_servicekit.link_flow import violation
from parley_servicekit.link_frames import FrameQueue, check_count, read_metadata, write_metadata
from parley_servicekit.link_stream import LinkStream
from parley_servicekit.logs import get_logger

# Cancelled ones that still clean up count too. A caller with more calls gets AT_CAPACITY for them.
STREAM_MAX_COUNT = 512
_METHOD_MAX_BYTES = 256
_TIMEOUT_MAX_MS = 7 * 86_400_000
_RETRY_MS = 1000
_log = get_logger()

FindMethod = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]
"""The handler of an RPC, as interceptors leave it; None where there is none. Raises Fault."""


@dataclass(frozen=True)
class _CallDetails(grpc.HandlerCallDetails):
    method: str
    invocation_metadata: Any


class ServedLink:
    """The service's end of one link: its RPCs by stream id. No I/O: frames come in and lie in `queue`."""

    def __init__(self, find: FindMethod, tasks: asyncio.TaskGroup, domain: str) -> None:
        """tasks: in which RPCs run; domain: of the process, such as `asr.parley`."""
        self.queue = FrameQueue()
        self._find = find
        self._domain = domain
        self._tasks = tasks
        self._streams: dict[int, LinkStream] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._last_id = 0

    @property
    def running_count(self) -> int:
        """RPCs that run, cancelled ones that still clean up included."""
        return len(self._running)

    def receive(self, frames: Sequence[pb.Frame]) -> None:
        """What the caller sent. Raises the violation."""
        check_count(frames)
        for frame in frames:
            stream = self._streams.get(frame.stream_id)
            kind = frame.WhichOneof("frame")
            if kind == "message" and stream is not None:
                stream.received(frame.message)
            elif kind == "open":
                self._open(frame.stream_id, frame.open)
            elif not 0 < frame.stream_id <= self._last_id:
                raise violation("a stream that was never opened")
            elif kind not in ("message", "credit", "end", "cancel"):
                raise violation("a frame that a caller does not send")
            elif stream is not None:
                self._control(stream, kind, frame)

    def close(self) -> None:
        """The link is gone: nobody waits for what runs."""
        for stream_id in tuple(self._streams):
            self._cancel(stream_id)

    def _control(self, stream: LinkStream, kind: str, frame: pb.Frame) -> None:
        match kind:
            case "credit":
                stream.granted(frame.credit)
            case "end":
                stream.ended()
            case "cancel":
                self._cancel(stream.stream_id)

    def _open(self, stream_id: int, begin: pb.OpenStream) -> None:
        if stream_id <= self._last_id:
            raise violation("a stream id that is not new")
        if len(begin.method) > _METHOD_MAX_BYTES or begin.timeout_ms > _TIMEOUT_MAX_MS:
            raise violation("a method name or a timeout that is too long")
        metadata = read_metadata(begin.metadata)
        self._last_id = stream_id
        stream = LinkStream(stream_id, self.queue)
        if len(self._running) >= STREAM_MAX_COUNT:
            self._end(stream, self._refusal())
            return
        self._streams[stream_id] = stream
        timeout_s = begin.timeout_ms / 1000 if begin.timeout_ms else None
        context = LinkContext(stream, self.queue, metadata, timeout_s)
        details = _CallDetails(begin.method, metadata)
        task = self._tasks.create_task(self._serve(context, details, timeout_s), name="link.rpc")
        self._running[stream_id] = task
        task.add_done_callback(lambda _: self._running.pop(stream_id))

    def _refusal(self) -> pb.StreamStatus:
        fault = Fault.capacity("AT_CAPACITY", "too many calls on one link", retry_after_ms=_RETRY_MS)
        status = rpc_status.to_status(status_from_fault(fault, self._domain))
        trailing = write_metadata(status.trailing_metadata)
        return pb.StreamStatus(code=fault.code.value, message=fault.message, trailing_metadata=trailing)

    def _cancel(self, stream_id: int) -> None:
        self._streams.pop(stream_id).close(drops_inbox=True)
        if (task := self._running.get(stream_id)) is not None:  # else cancelled before it began
            task.cancel()

    def _end(self, stream: LinkStream, status: pb.StreamStatus) -> None:
        """Tell the caller, unless it has cancelled."""
        self._streams.pop(stream.stream_id, None)
        if not stream.is_over:
            stream.close(drops_inbox=True)
            self.queue.put(pb.Frame(stream_id=stream.stream_id, status=status))

    async def _serve(
        self, context: LinkContext, details: grpc.HandlerCallDetails, timeout_s: float | None
    ) -> None:
        """One RPC from its handler to its status. Raises nothing but cancellation."""
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                await self._call(context, details)
        except grpc.aio.AbortError:
            pass
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                context.set_code(grpc.StatusCode.DEADLINE_EXCEEDED)
                context.set_details("Deadline Exceeded")
            else:  # what FaultInterceptor has not seen, such as a request that cannot be read
                _log.error("rpc.failed_unexpectedly", exc_info=error)
                context.set_code(grpc.StatusCode.INTERNAL)
                context.set_details("internal error")
        finally:
            self._end(context.stream, context.status())
            context.finish()

    async def _call(self, context: LinkContext, details: grpc.HandlerCallDetails) -> None:
        handler = await self._find(details)
        if handler is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        handler = wrap_handler(handler, lambda behaviour: behaviour)
        context.use(handler)
        if handler.request_streaming:
            request = context.requests()
        elif (request := await context.read()) is grpc.aio.EOF:
            await context.abort(grpc.StatusCode.CANCELLED, "ended without its request")
        if handler.response_streaming:
            await (handler.stream_stream if handler.request_streaming else handler.unary_stream)(
                request, context
            )
        else:
            behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
            await context.write(await behaviour(request, context))
