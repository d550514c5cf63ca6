"""Both ends of a link without a network: any interleaving, and peers that break the rules."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from parley.link.v1 import link_service_pb2 as pb
from parley_servicekit.faults import Fault
from parley_servicekit.link_call import LinkCall, Method
from parley_servicekit.link_client import Link
from parley_servicekit.link_flow import WINDOW_BYTES
from parley_servicekit.served_link import STREAM_MAX_COUNT, ServedLink

PATH = "/test.Talk/Echo"
ECHO = Method(PATH, None, None)


@dataclass
class Echo:
    """Gives back what it hears; remembers it, and how often it was cancelled, by stream."""

    heard: dict[bytes, list[bytes]] = field(default_factory=dict)
    cancel_counts: dict[bytes, int] = field(default_factory=dict)

    async def echo(self, requests: AsyncIterator[bytes], context: Any) -> None:
        name = b""
        try:
            async for request in requests:
                name = request.partition(b":")[0]
                self.heard.setdefault(name, []).append(request)
                await context.write(request)
        except asyncio.CancelledError:
            self.cancel_counts[name] = self.cancel_counts.get(name, 0) + 1
            raise

    async def find(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_stream_rpc_method_handler(self.echo) if details.method == PATH else None


@dataclass(frozen=True)
class StreamPlan:
    """What a caller writes, and after how many echoes it cancels (None: it does not)."""

    sizes: list[int]
    cancel_after: int | None

    @property
    def is_cancelled(self) -> bool:
        return self.cancel_after is not None and self.cancel_after <= len(self.sizes)


@dataclass
class Caller:
    """One stream at the caller's end; what it has read."""

    name: bytes
    plan: StreamPlan
    call: LinkCall
    read: list[bytes] = field(default_factory=list)

    @property
    def written(self) -> list[bytes]:
        return [self.name + b":%d:" % index + bytes(size) for index, size in enumerate(self.plan.sizes)]

    async def write(self) -> None:
        for message in self.written:
            if self.call.done():
                return
            await self.call.write(message)
        if not self.plan.is_cancelled:  # or the servicer might end before it is cancelled
            await self.call.done_writing()

    async def listen(self) -> None:
        while len(self.read) != self.plan.cancel_after:
            message = await self.call.read()
            if message is grpc.aio.EOF:
                return
            self.read.append(message)
        self.call.cancel()


stream_plans = st.builds(
    StreamPlan,
    st.lists(st.one_of(st.integers(0, 200), st.integers(0, 2 * WINDOW_BYTES)), max_size=12),
    st.one_of(st.none(), st.integers(0, 12)),
)


@given(st.lists(stream_plans, max_size=6), st.lists(st.sampled_from("udr"), max_size=80))
def test_any_interleaving_keeps_order_and_credit_and_cancels_once(
    plans: list[StreamPlan], schedule: list[str]
) -> None:
    """u and d carry one batch up or down, r lets tasks run. A message without credit would be a violation."""
    asyncio.run(interleaved(plans, schedule))


async def interleaved(plans: list[StreamPlan], schedule: list[str]) -> None:
    echo = Echo()
    async with joined(echo) as (link, served, tasks):
        callers = []
        for index, plan in enumerate(plans):
            callers.append(Caller(b"%d" % index, plan, link.open(ECHO, None, None)))
            tasks.create_task(quietly(callers[-1].write()), name="write")
            tasks.create_task(quietly(callers[-1].listen()), name="listen")
        for step in schedule:
            await run_step(step, link, served)
        quiet_count = 0
        while quiet_count < 5:
            quiet_count = 0 if len_of(link, served) else quiet_count + 1
            for step in "urdr":
                await run_step(step, link, served)
        for caller in callers:
            check(caller, echo)
        assert not link.calls
        assert not served.running_count


async def run_step(step: str, link: Link, served: ServedLink) -> None:
    match step:
        case "u":
            served.receive(link.queue.take())
        case "d":
            link.receive(pb.ConnectResponse(frames=served.queue.take()))
        case "r":
            for _ in range(5):
                await asyncio.sleep(0)


def len_of(link: Link, served: ServedLink) -> int:
    return len(link.queue) + len(served.queue)


def check(caller: Caller, echo: Echo) -> None:
    heard = echo.heard.get(caller.name, [])
    assert caller.read == heard[: len(caller.read)]
    assert heard == caller.written[: len(heard)]
    if caller.plan.is_cancelled:
        assert len(caller.read) == caller.plan.cancel_after
        assert echo.cancel_counts.get(caller.name, 0) == (1 if heard else 0)
    else:
        assert caller.read == caller.written
        assert caller.name not in echo.cancel_counts


async def quietly(doing: Any) -> None:
    """A cancelled call ends those who read and write it."""
    with contextlib.suppress(asyncio.CancelledError, asyncio.InvalidStateError):
        await doing


@contextlib.asynccontextmanager
async def joined(echo: Echo) -> AsyncIterator[tuple[Link, ServedLink, asyncio.TaskGroup]]:
    async with asyncio.TaskGroup() as tasks:
        link, served = Link("instance"), ServedLink(echo.find, tasks, "test.parley")
        yield link, served, tasks
        served.close()


async def refused(served: ServedLink, *frames: pb.Frame) -> None:
    with pytest.raises(Fault) as fault:
        served.receive(frames)
    assert fault.value.reason == "LINK_VIOLATION"


def opening(stream_id: int, **fields: Any) -> pb.Frame:
    return pb.Frame(stream_id=stream_id, open=pb.OpenStream(**{"method": PATH} | fields))


@pytest.mark.parametrize(
    "frames",
    [
        [pb.Frame(stream_id=1, message=b"x")],
        [pb.Frame(stream_id=9, cancel=pb.CancelStream())],
        [opening(0)],
        [opening(1), opening(1)],
        [opening(5), opening(4)],
        [opening(1), pb.Frame(stream_id=1)],
        [opening(1), pb.Frame(stream_id=1, status=pb.StreamStatus())],
        [opening(1), pb.Frame(stream_id=1, credit=1)],
        [opening(1), pb.Frame(stream_id=1, end=pb.EndOfMessages()), pb.Frame(stream_id=1, message=b"x")],
        [opening(1), *[pb.Frame(stream_id=1, message=bytes(1000))] * 40],
        [opening(1, method="/" + "x" * 300)],
        [opening(1, timeout_ms=2**60)],
        [opening(1, metadata=[pb.MetadataEntry(key="k", value=b"v")] * 65)],
        [opening(1)] * 1025,
    ],
)
async def test_a_caller_that_breaks_the_rules_is_refused(frames: list[pb.Frame]) -> None:
    async with joined(Echo()) as (_link, served, _tasks):
        await refused(served, *frames)


async def test_frames_that_cross_the_end_of_their_stream_are_ignored() -> None:
    async with joined(Echo()) as (_link, served, _tasks):
        served.receive([opening(1), pb.Frame(stream_id=1, cancel=pb.CancelStream())])
        for kind in (
            {"message": b"x"},
            {"credit": 1},
            {"end": pb.EndOfMessages()},
            {"cancel": pb.CancelStream()},
        ):
            served.receive([pb.Frame(stream_id=1, **kind)])


async def test_more_streams_than_a_link_carries_are_told_so_one_by_one() -> None:
    async with joined(Echo()) as (_link, served, _tasks):
        for stream_id in range(1, STREAM_MAX_COUNT + 3):
            served.receive([opening(stream_id)])
        told = [frame for frame in served.queue.take() if frame.WhichOneof("frame") == "status"]
        assert [frame.stream_id for frame in told] == [STREAM_MAX_COUNT + 1, STREAM_MAX_COUNT + 2]
        assert {frame.status.code for frame in told} == {grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]}
        assert [entry.key for entry in told[0].status.trailing_metadata] == ["grpc-status-details-bin"]


@pytest.mark.parametrize(
    "frames",
    [
        [pb.Frame(stream_id=2, message=b"x")],
        [pb.Frame(stream_id=1, open=pb.OpenStream())],
        [pb.Frame(stream_id=1, credit=1)],
        [pb.Frame(stream_id=1, message=b"x"), pb.Frame(stream_id=1, initial_metadata=pb.StreamMetadata())],
        [*[pb.Frame(stream_id=1, message=bytes(1000))] * 40],
    ],
)
async def test_a_service_that_breaks_the_rules_is_refused(frames: list[pb.Frame]) -> None:
    link = Link("instance")
    call = link.open(ECHO, None, None)
    with pytest.raises(Fault) as fault:
        link.receive(pb.ConnectResponse(frames=frames))
    assert fault.value.reason == "LINK_VIOLATION"
    link.close()
    assert await call.code() is grpc.StatusCode.UNAVAILABLE


# Fuzzing.


def any_frame(chance: random.Random) -> pb.Frame:
    stream_id = chance.choice([0, 1, 2, 3, 4, chance.randrange(8), chance.randrange(2**32)])
    match chance.randrange(9):
        case 0 | 1 | 2:
            method = chance.choice([PATH, "/test.Talk/Nothing", "", "x" * chance.randrange(400)])
            metadata = [pb.MetadataEntry(key=chance.choice(["a", "b-bin"]), value=chance.randbytes(3))]
            return pb.Frame(
                stream_id=stream_id,
                open=pb.OpenStream(
                    method=method,
                    timeout_ms=chance.choice([0, 1, 2**63]),
                    metadata=metadata * chance.randrange(3),
                ),
            )
        case 3 | 4:
            return pb.Frame(stream_id=stream_id, message=chance.randbytes(chance.choice([0, 3, 9000])))
        case 5:
            return pb.Frame(stream_id=stream_id, end=pb.EndOfMessages())
        case 6:
            return pb.Frame(stream_id=stream_id, cancel=pb.CancelStream())
        case 7:
            return pb.Frame(stream_id=stream_id, credit=chance.choice([0, 64, 2**32 - 1]))
        case _:
            return pb.Frame(stream_id=stream_id, status=pb.StreamStatus(code=chance.randrange(99)))


def hostile_batches(seed: int, count: int) -> Iterator[list[pb.Frame]]:
    """Frames by the grammar, and what is left of batches whose bytes were damaged."""
    chance = random.Random(seed)
    for _ in range(count):
        frames = [any_frame(chance) for _ in range(chance.randrange(1, 6))]
        if chance.random() < 0.3:
            damaged = bytearray(pb.ConnectRequest(frames=frames).SerializeToString())
            for _ in range(chance.randrange(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            try:
                frames = list(pb.ConnectRequest.FromString(bytes(damaged)).frames)
            except DecodeError:
                continue
        yield frames


async def test_ten_thousand_hostile_batches_break_nothing_but_their_link() -> None:
    echo = Echo()
    violation_count = 0
    async with asyncio.TaskGroup() as tasks:
        served = ServedLink(echo.find, tasks, "test.parley")
        for frames in hostile_batches(1, 12_000):
            try:
                served.receive(frames)
            except Fault as fault:
                assert fault.reason == "LINK_VIOLATION"
                violation_count += 1
                served.close()
                await asyncio.sleep(0)
                served = ServedLink(echo.find, tasks, "test.parley")
            await asyncio.sleep(0)
            served.queue.take()
        served.close()
    assert violation_count > 1000


async def test_ten_thousand_hostile_answers_break_nothing_but_their_link() -> None:
    violation_count = 0
    link = Link("instance")
    for frames in hostile_batches(2, 12_000):
        if len(link.calls) < 4:
            link.open(ECHO, None, None)
        try:
            link.receive(pb.ConnectResponse(frames=frames))
        except Fault as fault:
            assert fault.reason == "LINK_VIOLATION"
            violation_count += 1
            link.close()
            assert not link.calls
            link = Link("instance")
    assert violation_count > 1000
