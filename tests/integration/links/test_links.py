"""The life of links over real gRPC: services that are old, drain, die, hang or lie, and callers that do."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from parley.audio.v1 import audio_pb2
from parley.link.v1 import link_service_pb2 as pb
from parley.link.v1.link_service_pb2_grpc import LinkServiceStub
from parley.tts.v1 import synthesis_service_pb2 as tts_pb2
from parley.tts.v1.synthesis_service_pb2_grpc import SynthesisServiceStub
from parley_servicekit.admission import Admission
from parley_servicekit.faults import FaultCode
from parley_servicekit.grpc_client import open_channel
from parley_servicekit.grpc_faults import fault_from_rpc_error
from parley_servicekit.link_call import LinkCall
from parley_servicekit.link_client import LinkChannel
from parley_servicekit.link_servicer import CONNECT
from support.processes import started_process
from support.talk_service import SERVICE, Talk, linked, serving

PATIENCE_S = 60.0
TALK = f"/{SERVICE}/Talk"


@pytest.fixture(autouse=True)
async def patience() -> AsyncIterator[None]:
    async with asyncio.timeout(PATIENCE_S):
        yield


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.02)


@asynccontextmanager
async def links_to(target: str) -> AsyncIterator[LinkChannel]:
    channel = open_channel(target)
    try:
        async with linked(channel) as links:
            yield links
    finally:
        await channel.close()


async def converse(channel: Any) -> Any:
    """One exchange; the call, still open."""
    call = channel.stream_stream(TALK)(timeout=30)
    await call.write(b"word")
    assert await call.read() == b"word"
    return call


# Services without links, or about to go.


async def test_a_service_without_links_is_called_as_usual() -> None:
    async with serving(Talk(), has_links=False) as address:
        channel = open_channel(address)
        links = LinkChannel(channel)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(links.run(), name="links")
            for _turn in range(20):
                call = await converse(links)
                assert not isinstance(call, LinkCall)
                call.cancel()
            assert links.link_count == 0
            running.cancel()
        await channel.close()


async def test_a_service_that_drains_keeps_its_streams_and_gets_no_new_ones() -> None:
    talk, draining, admission = Talk(), asyncio.Event(), Admission(500, frozenset({CONNECT}))
    admission.open()
    async with serving(talk, admission=admission, draining=draining) as address, links_to(address) as links:
        call = await converse(links)
        assert isinstance(call, LinkCall)
        admission.close()
        draining.set()
        await until(lambda: links.link_count == 0)
        assert links.stream_count == 1
        late = links.stream_stream(TALK)(timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await late.read()
        assert fault_from_rpc_error(error.value).reason == "DRAINING"
        await call.write(b"bye")
        assert await call.read() == b"bye"
        assert await call.read() is grpc.aio.EOF


async def test_links_are_not_among_the_calls_that_a_drain_waits_for() -> None:
    admission = Admission(500, frozenset({CONNECT}))
    admission.open()
    async with serving(Talk(), admission=admission) as address, links_to(address) as links:
        call = await converse(links)
        assert admission.running_count == 1
        call.cancel()
        await admission.wait_idle()


async def test_a_link_leads_to_every_process_behind_a_name() -> None:
    first, second = Talk(), Talk()
    async with serving(first) as here, serving(second) as there, links_to(f"ipv4:{here},{there}") as links:
        await until(lambda: links.link_count == 2)
        calls = [await converse(links) for _ in range(20)]
        assert all(isinstance(call, LinkCall) for call in calls)
        assert (first.running_count, second.running_count) == (10, 10)
        assert links.stream_count == 20
        for call in calls:
            call.cancel()
        assert links.stream_count == 0


# Services that die, hang or lie.


async def synthesizing(channel: Any) -> Any:
    call = SynthesisServiceStub(channel).StreamingSynthesize(timeout=60)
    audio_format = audio_pb2.AudioFormat(
        encoding=audio_pb2.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=24_000
    )
    config = tts_pb2.SynthesisConfig(output_audio=audio_format)
    await call.write(tts_pb2.StreamingSynthesizeRequest(config=config))
    await call.initial_metadata()
    return call


async def test_streams_of_a_killed_service_end_and_the_next_one_gets_links_again() -> None:
    environment = {"PARLEY_TTS_ENGINE": "scripted"}
    async with started_process("parley_tts", environment) as process:
        port = process.grpc_address.rpartition(":")[2]
        async with links_to(process.grpc_address) as links:
            calls = [await synthesizing(links) for _ in range(20)]
            assert all(isinstance(call, LinkCall) for call in calls)
            process.kill()
            assert {await call.code() for call in calls} == {grpc.StatusCode.UNAVAILABLE}
            await process.wait()
            assert links.link_count == 0
            async with started_process("parley_tts", environment | {"PARLEY_TTS_PORT": port}):
                await until(lambda: links.link_count == 1)
                call = await synthesizing(links)
                assert isinstance(call, LinkCall)
                assert not call.done()


async def test_a_service_that_hangs_holds_up_no_caller_and_hears_of_the_end_later() -> None:
    async with (
        started_process("parley_tts", {"PARLEY_TTS_ENGINE": "scripted"}) as process,
        links_to(process.grpc_address) as links,
    ):
        call = await synthesizing(links)
        process.freeze()
        hung: Any = SynthesisServiceStub(links).StreamingSynthesize(timeout=60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await hung.initial_metadata()
        assert hung.cancel()
        assert call.cancel()
        assert await call.code() is grpc.StatusCode.CANCELLED
        os.kill(process.pid, signal.SIGCONT)
        await until(lambda: process.logs().count('"outcome": "cancelled"') >= 1)
        again = await synthesizing(links)
        assert isinstance(again, LinkCall)
        again.cancel()


@pytest.mark.parametrize(
    "lie",
    [
        pb.ConnectResponse(frames=[pb.Frame(stream_id=77, message=b"x")]).SerializeToString(),
        pb.ConnectResponse(frames=[pb.Frame(stream_id=1, credit=2**32 - 1)]).SerializeToString(),
        pb.ConnectResponse(frames=[pb.Frame(stream_id=1, message=bytes(60_000))] * 3).SerializeToString(),
        b"\xff no message",
    ],
    ids=["unknown stream", "too much credit", "no credit", "garbage"],
)
async def test_a_service_that_breaks_the_rules_loses_the_link_and_its_callers_hear_of_it(lie: bytes) -> None:
    async def connect(_requests: Any, context: Any) -> None:
        await context.send_initial_metadata((("parley-instance", "liar"),))
        await context.read()
        await context.write(lie)
        while await context.read() is not grpc.aio.EOF:
            pass

    method = grpc.stream_stream_rpc_method_handler(connect, pb.ConnectRequest.FromString)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("parley.link.v1.LinkService", {"Connect": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with links_to(f"127.0.0.1:{port}") as links:
            call = links.stream_stream(TALK)(timeout=30)
            await call.write(b"word")
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await server.stop(0)


# Callers that lie.


async def test_a_caller_that_breaks_the_rules_gets_a_typed_error_and_its_streams_end() -> None:
    talk = Talk()
    async with serving(talk) as address:
        channel = open_channel(address)
        connect: Any = LinkServiceStub(channel).Connect(timeout=30)
        await connect.write(
            pb.ConnectRequest(
                frames=[
                    pb.Frame(stream_id=1, open=pb.OpenStream(method=TALK)),
                    pb.Frame(stream_id=1, message=b"hang"),
                ]
            )
        )
        await until(lambda: talk.running_count == 1)
        await connect.write(pb.ConnectRequest(frames=[pb.Frame(stream_id=9, message=b"x")]))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            while await connect.read() is not grpc.aio.EOF:
                pass
        fault = fault_from_rpc_error(error.value)
        assert (fault.reason, fault.code) == ("LINK_VIOLATION", FaultCode.INVALID_ARGUMENT)
        await talk.cancelled.wait()
        await channel.close()


async def test_bytes_that_are_no_message_harm_nobody_else() -> None:
    chance = random.Random(3)
    async with serving(Talk()) as address, links_to(address) as links:
        hostile = open_channel(address)
        for _ in range(50):
            connect: Any = hostile.stream_stream(CONNECT)(timeout=10)
            await connect.write(b"\xff" + chance.randbytes(chance.randrange(300)))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                while await connect.read() is not grpc.aio.EOF:
                    pass
            assert fault_from_rpc_error(error.value).reason == "LINK_VIOLATION"
        await hostile.close()
        (await converse(links)).cancel()


async def test_a_caller_that_vanishes_takes_its_streams_along() -> None:
    talk = Talk()
    async with serving(talk) as address:
        async with links_to(address) as links:
            call = await converse(links)
            await call.write(b"hang")
            await until(lambda: talk.running_count == 1)
        await talk.cancelled.wait()
        await until(lambda: talk.running_count == 0)


async def test_a_call_over_a_link_cannot_reach_the_link_itself_or_health() -> None:
    async with serving(Talk()) as address, links_to(address) as links:
        for path in (CONNECT, "/grpc.health.v1.Health/Watch"):
            call = links.stream_stream(path)(timeout=10)
            assert isinstance(call, LinkCall)
            assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
