"""`FrameQueue`: what waits to leave over a link, in order, and when it leaves in which batches; metadata on the wire.

A message costs a wake-up at both ends, its bytes next to nothing. So what may wait (audio of a microphone, 50 times a
second and session) leaves with what others have ready, at most once a tick; everything else leaves at once and takes
along what waits. Used by both ends, `link_client` and `link_servicer`.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from grpc.aio import Metadata

from parley.link.v1 import link_service_pb2 as pb
from parley_servicekit.link_flow import violation

# What may wait does so for half of it on average, once there is more of it than fits into single messages;
# docs/decisions/0015 tells what other ticks cost.
TICK_S = 0.005
BATCH_MAX_COUNT = 1024
# Small against what a slow connection takes in a tick; a longer message leaves alone.
_BATCH_FULL_BYTES = 128 * 1024
_METADATA_MAX_COUNT = 64
_METADATA_MAX_BYTES = 8192

MetadataPairs = Iterable[tuple[str, str | bytes]] | None


class FrameQueue:
    """Bounded by the credits of the streams that put into it and by how many of them there may be."""

    def __init__(self) -> None:
        self._frames: deque[pb.Frame] = deque()
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._taken_at_s = 0.0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: pb.Frame, *, may_wait: bool = False) -> None:
        """Append."""
        self._frames.append(frame)
        if not may_wait:
            self._due.set()
        elif self._timer is None and not self._due.is_set():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._taken_at_s + TICK_S, self._due.set)

    def wake(self) -> None:
        """Let the next batch leave at once, even if it is empty."""
        self._due.set()

    async def batch(self) -> list[pb.Frame]:
        """What is due, as soon as something is: one batch."""
        await self._due.wait()
        return self.take()

    def take(self) -> list[pb.Frame]:
        """One batch of what is here, due or not."""
        batch: list[pb.Frame] = []
        size = 0
        while self._frames and len(batch) < BATCH_MAX_COUNT:
            size += self._frames[0].ByteSize()
            if batch and size > _BATCH_FULL_BYTES:
                return batch
            batch.append(self._frames.popleft())
        if not self._frames:
            self._due.clear()
            self._taken_at_s = asyncio.get_running_loop().time()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        return batch


def check_count(frames: Sequence[pb.Frame]) -> None:
    """Raise the violation for more frames than a batch may hold."""
    if len(frames) > BATCH_MAX_COUNT:
        raise violation("too many frames in a batch")


def read_metadata(entries: Sequence[pb.MetadataEntry]) -> Metadata:
    """gRPC's form. Raises the violation beyond the limits of the proto."""
    if not _fits(entries):
        raise violation("too much metadata")
    metadata = Metadata()
    for entry in entries:
        is_binary = entry.key.endswith("-bin")
        metadata.add(entry.key, entry.value if is_binary else entry.value.decode("latin-1"))
    return metadata


def write_metadata(pairs: MetadataPairs) -> list[pb.MetadataEntry]:
    """The wire's form. Raises ValueError for what would not be taken."""
    entries = [
        pb.MetadataEntry(key=key, value=value if isinstance(value, bytes) else value.encode("latin-1"))
        for key, value in pairs or ()
    ]
    if not _fits(entries):
        raise ValueError("more metadata than a link takes")
    return entries


def _fits(entries: Sequence[pb.MetadataEntry]) -> bool:
    size = sum(len(entry.key) + len(entry.value) for entry in entries)
    return len(entries) <= _METADATA_MAX_COUNT and size <= _METADATA_MAX_BYTES
