"""`LinkCall`: the caller's end of an RPC over a link, with the ways of a grpc.aio call. Made by `link_client`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from grpc.aio import Metadata

from parley.link.v1 import link_service_pb2 as pb
from parley_servicekit.faults import Fault
from parley_servicekit.link_flow import violation
from parley_servicekit.link_frames import FrameQueue, read_metadata
from parley_servicekit.link_stream import LinkStream

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Method:
    """An RPC as generated stubs describe it."""

    path: str
    serialize: Callable[[Any], bytes] | None
    deserialize: Callable[[bytes], Any] | None


@dataclass(frozen=True, slots=True)
class Status:
    """How an RPC ended."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: Metadata = field(default_factory=Metadata)


class LinkCall:
    """A call whose responses are a stream. What differs from grpc.aio: it is not cancelled by being forgotten.

    As there, a read or write that is cancelled cancels the call, one that comes after a local cancel raises
    CancelledError, and the first status stays.
    """

    def __init__(
        self,
        stream_id: int,
        queue: FrameQueue,
        method: Method,
        timeout_s: float | None,
        forget: Callable[[], Any],
    ) -> None:
        """forget: called once, when the call is over."""
        self._stream = LinkStream(stream_id, queue)
        self._queue = queue
        self._method = method
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._deadline_s = None if timeout_s is None else self._loop.time() + timeout_s
        self._timer = None if timeout_s is None else self._loop.call_later(timeout_s, self._expire)
        self._initial_metadata = Metadata()
        self._has_begun = asyncio.Event()
        self._status: Status | None = None
        self._has_status = asyncio.Event()
        self._is_cancelled = False
        self._is_half_closed = False
        self._callbacks: list[Callable[[Any], None]] = []

    # What the link brings.

    def receive(self, frame: pb.Frame) -> None:
        """A frame of this stream. Raises the violation."""
        match frame.WhichOneof("frame"):
            case "message":
                self._has_begun.set()
                self._stream.received(frame.message)
            case "credit":
                self._stream.granted(frame.credit)
            case "initial_metadata":
                if self._has_begun.is_set():
                    raise violation("initial metadata that is not the first")
                self._initial_metadata = read_metadata(frame.initial_metadata.metadata)
                self._has_begun.set()
            case "status":
                status = frame.status
                code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
                self.end(Status(code, status.message, read_metadata(status.trailing_metadata)))
            case _:
                raise violation("a frame that a service does not send")

    def end(self, status: Status, *, drops_inbox: bool = False) -> None:
        """The call is over; only the first status counts."""
        if self._status is not None:
            return
        self._status = status
        if self._timer is not None:
            self._timer.cancel()
        self._stream.close(drops_inbox=drops_inbox)
        self._forget()
        self._has_begun.set()
        self._has_status.set()
        for callback in self._callbacks:
            callback(self)

    # What a caller does.

    @property
    def can_write(self) -> bool:
        """Whether `write` would not wait, and `write_now` may be called."""
        return self._status is None and not self._is_half_closed and self._stream.can_send

    def write_now(self, request: Any, *, may_wait: bool) -> None:
        """Send a request while `can_write`. may_wait: it may leave with the link's next tick.

        Raises Fault MESSAGE_TOO_LONG.
        """
        self._stream.send(self._serialized(request), may_wait=may_wait)

    def begin_with(self, request: Any) -> None:
        """Send the only request of a fresh call."""
        try:
            self._stream.send(self._serialized(request))
        except Fault as fault:
            self._end_here(Status(grpc.StatusCode.RESOURCE_EXHAUSTED, fault.message))
        self._half_close()

    async def write(self, request: Any) -> None:
        """Send a request. Raises AioRpcError when the call fails meanwhile, InvalidStateError when it is over."""
        if self._status is not None or self._is_half_closed:
            raise asyncio.InvalidStateError("the call is over or half closed")
        try:
            is_sent = await self._stream.write(self._serialized(request))
        except Fault as fault:
            self._end_here(Status(grpc.StatusCode.RESOURCE_EXHAUSTED, fault.message))
            is_sent = False
        except asyncio.CancelledError:
            self.cancel()
            raise
        if not is_sent:
            self._raise_for_status()

    async def done_writing(self) -> None:
        """Say that no request follows."""
        self._half_close()

    async def read(self) -> Any:
        """The next response; grpc.aio.EOF after a good end. Raises AioRpcError for any other."""
        try:
            message = await self._stream.read()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if message is None:
            self._raise_for_status()
            return grpc.aio.EOF
        deserialize = self._method.deserialize
        try:
            return message if deserialize is None else deserialize(message)
        except Exception:
            self._end_here(Status(grpc.StatusCode.INTERNAL, "a response cannot be read"))
            self._raise_for_status()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (response := await self.read()) is not grpc.aio.EOF:
            yield response

    def cancel(self) -> bool:
        """End the call; False when it is over already."""
        if self._status is not None:
            return False
        self._is_cancelled = True
        self._end_here(Status(grpc.StatusCode.CANCELLED, "Locally cancelled by application!"))
        return True

    def cancelled(self) -> bool:
        """Whether it ended as CANCELLED."""
        return self._status is not None and self._status.code is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        """Whether the status is known."""
        return self._status is not None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call `callback` with this call when it is over; at once if it is."""
        if self._status is not None:
            callback(self)
        else:
            self._callbacks.append(callback)

    def time_remaining(self) -> float | None:
        """Seconds until the deadline."""
        return None if self._deadline_s is None else max(0.0, self._deadline_s - self._loop.time())

    async def initial_metadata(self) -> Metadata:
        """What came ahead of the first response, once something has come."""
        await self._has_begun.wait()
        return self._initial_metadata

    async def code(self) -> grpc.StatusCode:
        """Once the call is over."""
        return (await self._ended()).code

    async def details(self) -> str:
        """Once the call is over."""
        return (await self._ended()).details

    async def trailing_metadata(self) -> Metadata:
        """Once the call is over."""
        return (await self._ended()).trailing_metadata

    async def _ended(self) -> Status:
        await self._has_status.wait()
        assert self._status is not None
        return self._status

    def _serialized(self, request: Any) -> bytes:
        serialize = self._method.serialize
        message: bytes = request if serialize is None else serialize(request)
        return message

    def _half_close(self) -> None:
        if self._status is None and not self._is_half_closed:
            self._is_half_closed = True
            self._queue.put(pb.Frame(stream_id=self._stream.stream_id, end=pb.EndOfMessages()))

    def _expire(self) -> None:
        self._end_here(Status(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))

    def _end_here(self, status: Status) -> None:
        """End a call that the service does not know to be over."""
        if self._status is None:
            self._queue.put(pb.Frame(stream_id=self._stream.stream_id, cancel=pb.CancelStream()))
        self.end(status, drops_inbox=True)

    def _raise_for_status(self) -> None:
        if self._is_cancelled:
            raise asyncio.CancelledError
        status = self._status
        if status is not None and status.code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(
                status.code, self._initial_metadata, status.trailing_metadata, details=status.details
            )
