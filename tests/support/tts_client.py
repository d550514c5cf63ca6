"""Clients of a real tts process."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from parley.tts.v1 import synthesis_service_pb2 as pb
from parley.tts.v1 import synthesis_service_pb2_grpc as pb_grpc
from parley_servicekit.faults import Fault
from parley_servicekit.grpc_faults import fault_from_rpc_error
from support.processes import StartedProcess, started_process

SERVICE = "parley.tts.v1.SynthesisService"


@dataclass
class Tts:
    """A running process and a channel to it."""

    process: StartedProcess
    channel: grpc.aio.Channel
    stub: Any


@asynccontextmanager
async def running_tts(**settings: str) -> AsyncIterator[Tts]:
    env = {f"PARLEY_TTS_{name}": value for name, value in settings.items()}
    async with (
        started_process("parley_tts", env=env) as process,
        grpc.aio.insecure_channel(process.grpc_address) as channel,
    ):
        yield Tts(process, channel, pb_grpc.SynthesisServiceStub(channel))


def config(**fields: Any) -> pb.StreamingSynthesizeRequest:
    return pb.StreamingSynthesizeRequest(config=pb.SynthesisConfig(**fields))


def text(written: str) -> pb.StreamingSynthesizeRequest:
    return pb.StreamingSynthesizeRequest(text=written)


END = pb.StreamingSynthesizeRequest(end_of_text=pb.EndOfText())


@dataclass
class Spoken:
    """All that came back of a synthesis. Offsets and lengths in seconds."""

    marks: list[Any] = field(default_factory=list)
    chunks: list[Any] = field(default_factory=list)
    failures: list[Any] = field(default_factory=list)
    finished: Any = None

    def add(self, response: Any) -> None:
        assert self.finished is None, "nothing follows finished"
        kind = response.WhichOneof("response")
        if kind == "finished":
            self.finished = response.finished
        else:
            {"phrase": self.marks, "audio": self.chunks, "phrase_failed": self.failures}[kind].append(
                getattr(response, kind)
            )

    @property
    def audio(self) -> bytes:
        return b"".join(packet for chunk in self.chunks for packet in chunk.packets)


async def collect(call: Any) -> Spoken:
    spoken = Spoken()
    async for response in call:
        spoken.add(response)
    return spoken


async def stream(stub: Any, requests: Iterable[pb.StreamingSynthesizeRequest]) -> Spoken:
    return await collect(stub.StreamingSynthesize(iter(list(requests)), timeout=30))


async def refusal_of(
    stub: Any, requests: Iterable[pb.StreamingSynthesizeRequest], *, closes: bool = False
) -> Fault:
    """The fault that `requests`, the last of which is the wrong one, end in.

    Nothing is written after it: when a grpc.aio client writes into a call that has just been refused, it reports
    its own INTERNAL error instead of the server's status. closes: end the request stream after it.
    """
    call = stub.StreamingSynthesize(timeout=30)
    for request in requests:
        await call.write(request)
    if closes:
        await call.done_writing()
    return await fault_of(collect(call))


async def fault_of(awaitable: Any) -> Fault:
    """The fault that an RPC ends in."""
    try:
        await awaitable
    except grpc.aio.AioRpcError as error:
        return fault_from_rpc_error(error)
    raise AssertionError("the call did not fail")
