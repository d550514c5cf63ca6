"""`LinkStream`: messages of one RPC at one end of a link, with waiting. Used by `link_call` and `link_context`."""

import asyncio

from parley.link.v1 import link_service_pb2 as pb
from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.link_flow import MESSAGE_MAX_BYTES, StreamFlow, violation
from parley_servicekit.link_frames import FrameQueue


class LinkStream:
    """Serialized messages both ways, held back by credit. One task may read and one may write at a time."""

    def __init__(self, stream_id: int, queue: FrameQueue) -> None:
        self.stream_id = stream_id
        self.is_over = False
        self._queue = queue
        self._flow = StreamFlow()
        self._has_ended = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    @property
    def can_send(self) -> bool:
        """Whether there is credit for a message."""
        return self._flow.can_send

    async def read(self) -> bytes | None:
        """The next message; None after the last one."""
        flow = self._flow
        while not flow.inbox:
            if self._has_ended:
                return None
            self._readable.clear()
            await self._readable.wait()
        message, credit = flow.take()
        if credit and not self.is_over:
            self._queue.put(pb.Frame(stream_id=self.stream_id, credit=credit), may_wait=True)
        return message

    async def write(self, message: bytes) -> bool:
        """Send a message as soon as there is credit; False when the stream is over. Raises Fault if it is too long."""
        while not self._flow.can_send and not self.is_over:
            self._writable.clear()
            await self._writable.wait()
        if self.is_over:
            return False
        self.send(message)
        return True

    def send(self, message: bytes, *, may_wait: bool = False) -> None:
        """Send a message that there is credit for, as there is for the first. may_wait: with the link's next tick.

        Raises Fault MESSAGE_TOO_LONG.
        """
        if len(message) > MESSAGE_MAX_BYTES:
            raise Fault(
                "MESSAGE_TOO_LONG",
                f"a message has at most {MESSAGE_MAX_BYTES} bytes",
                code=FaultCode.RESOURCE_EXHAUSTED,
            )
        self._flow.sent(message)
        self._queue.put(pb.Frame(stream_id=self.stream_id, message=message), may_wait=may_wait)

    def received(self, message: bytes) -> None:
        """A message came. Raises the violation."""
        if self._has_ended:
            raise violation("a message after the last")
        self._flow.received(message)
        self._readable.set()

    def granted(self, credit: int) -> None:
        """Credit came. Raises the violation."""
        self._flow.granted(credit)
        self._writable.set()

    def ended(self) -> None:
        """No further message will come; what is here can still be read."""
        self._has_ended = True
        self._readable.set()

    def close(self, *, drops_inbox: bool) -> None:
        """The stream is over: nothing is sent any more."""
        self.is_over = True
        if drops_inbox:
            self._flow.inbox.clear()
        self.ended()
        self._writable.set()
