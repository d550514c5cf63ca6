"""The queue of a link: order, batches, what leaves when; metadata on the wire."""

import asyncio

import pytest
from grpc.aio import Metadata

from parley.link.v1 import link_service_pb2 as pb
from parley_servicekit.faults import Fault
from parley_servicekit.link_frames import (
    BATCH_MAX_COUNT,
    FrameQueue,
    check_count,
    read_metadata,
    write_metadata,
)


def frame(stream_id: int, size: int = 1) -> pb.Frame:
    return pb.Frame(stream_id=stream_id, message=bytes(size))


def ids(frames: list[pb.Frame]) -> list[int]:
    return [each.stream_id for each in frames]


async def test_what_may_not_wait_takes_along_what_may_in_order() -> None:
    queue = FrameQueue()
    queue.put(frame(1), may_wait=True)
    queue.put(frame(2), may_wait=True)
    queue.put(frame(3))
    queue.put(frame(4), may_wait=True)
    assert ids(await queue.batch()) == [1, 2, 3, 4]


async def test_what_may_wait_leaves_by_itself() -> None:
    queue = FrameQueue()
    for number in (1, 2):
        queue.put(frame(number), may_wait=True)
        async with asyncio.timeout(10):
            assert ids(await queue.batch()) == [number]


async def test_an_empty_batch_leaves_when_it_is_asked_for() -> None:
    queue = FrameQueue()
    queue.wake()
    assert await queue.batch() == []


async def test_batches_are_bounded_and_nothing_is_left_behind() -> None:
    queue = FrameQueue()
    for number in range(1, BATCH_MAX_COUNT + 11):
        queue.put(frame(number))
    first, second = await queue.batch(), await queue.batch()
    assert (len(first), len(second)) == (BATCH_MAX_COUNT, 10)
    assert ids(first + second) == list(range(1, BATCH_MAX_COUNT + 11))


async def test_large_messages_leave_in_batches_of_their_own() -> None:
    queue = FrameQueue()
    for number in range(1, 4):
        queue.put(frame(number, 100_000))
    assert [ids(await queue.batch()) for _ in range(3)] == [[1], [2], [3]]


def test_too_many_frames_are_a_violation() -> None:
    check_count([frame(1)] * BATCH_MAX_COUNT)
    with pytest.raises(Fault, match="too many frames"):
        check_count([frame(1)] * (BATCH_MAX_COUNT + 1))


def test_metadata_survives_the_wire() -> None:
    pairs = (("traceparent", "00-1-2-3"), ("key-bin", b"\x00\xff"), ("traceparent", "again"))
    assert tuple(read_metadata(write_metadata(pairs))) == tuple(Metadata(*pairs))
    assert write_metadata(None) == []


@pytest.mark.parametrize("pairs", [[("a", "b")] * 65, [("a", "b" * 8192)]])
def test_too_much_metadata_is_neither_written_nor_read(pairs: list[tuple[str, str | bytes]]) -> None:
    with pytest.raises(ValueError, match="metadata"):
        write_metadata(pairs)
    entries = [pb.MetadataEntry(key=key, value=str(value).encode()) for key, value in pairs]
    with pytest.raises(Fault, match="metadata"):
        read_metadata(entries)
