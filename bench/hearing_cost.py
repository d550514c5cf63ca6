"""What a minute of one recognition stream costs the asr process, minute after minute. For the scenario `services`.

Every minute holds the same audio, sent as fast as it is taken; a minute is over when the service has acknowledged it.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.chat_cost import cpu_seconds
from bench.service import Service
from bench.speech import CLIP_NAMES, SAMPLE_RATE_HZ, PcmSamples, clip_frames
from parley.asr.v1 import recognition_service_pb2 as pb2
from parley.asr.v1 import recognition_service_pb2_grpc as pb2_grpc
from parley.audio.v1 import audio_pb2
from parley.gateway.v1 import conversation_service_pb2 as gateway_pb2
from parley_servicekit.grpc_client import open_channel

_MINUTE_S = 60
_CHUNK_SAMPLE_COUNT = SAMPLE_RATE_HZ // 10
_PAUSE_SAMPLE_COUNT = round(1.5 * SAMPLE_RATE_HZ)
# An acknowledgement comes every half a second of audio, and may stop short of a window of the detector.
_SLACK_S = 1.0
_Request = pb2.StreamingRecognizeRequest


async def minute_costs(service: Service, minute_count: int, say: Callable[[str], None]) -> list[float]:
    """CPU seconds of the process per second of audio, for each minute of one stream."""
    channel = open_channel(service.address)
    try:
        stub = pb2_grpc.RecognitionServiceStub(channel)
        # A stream before it, so that nothing costs more because it is new.
        await _minutes(stub, service.pid, 1, lambda _: None)
        return await _minutes(stub, service.pid, minute_count, say)
    finally:
        await channel.close()


async def _minutes(stub: Any, pid: int, minute_count: int, say: Callable[[str], None]) -> list[float]:
    minute = _a_minute().astype("<i2")
    chunks = [
        _Request(audio=audio_pb2.AudioChunk(packets=[part.tobytes()]))
        for part in minute.reshape(-1, _CHUNK_SAMPLE_COUNT)
    ]
    input_audio = audio_pb2.AudioFormat(
        encoding=audio_pb2.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=SAMPLE_RATE_HZ, channel_count=1
    )
    call = stub.StreamingRecognize()
    costs = []
    try:
        await call.write(_Request(config=pb2.StreamingRecognitionConfig(input_audio=input_audio)))
        for index in range(minute_count):
            before_s = cpu_seconds(pid)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_send(call, chunks), name="hearing.send")
                await _read_until(call, (index + 1) * _MINUTE_S - _SLACK_S)
            costs.append((cpu_seconds(pid) - before_s) / _MINUTE_S)
            if index % 10 == 9:
                say(f"minute {index + 1} of one stream: {costs[-1] * 1000:.1f} ms of CPU a second")
    finally:
        call.cancel()
    return costs


async def _send(call: Any, chunks: list[_Request]) -> None:
    for chunk in chunks:
        await call.write(chunk)


async def _read_until(call: Any, offset_s: float) -> None:
    while True:
        response = await call.read()
        offset = response.acknowledged.offset
        if response.HasField("acknowledged") and offset.seconds + offset.nanos / 1e9 >= offset_s:
            return


def _a_minute() -> PcmSamples:
    """Clips with pauses between them, a minute in all."""
    samples = np.zeros(_MINUTE_S * SAMPLE_RATE_HZ, dtype=np.int16)
    place = _PAUSE_SAMPLE_COUNT
    for name in itertools.cycle(CLIP_NAMES):
        clip = _clip(name)
        if place + len(clip) + _PAUSE_SAMPLE_COUNT > len(samples):
            return samples
        samples[place : place + len(clip)] = clip
        place += len(clip) + _PAUSE_SAMPLE_COUNT
    raise AssertionError("there are no clips")


def _clip(name: str) -> PcmSamples:
    frames = (gateway_pb2.ConverseRequest.FromString(frame) for frame in clip_frames(name, 0))
    packets = (packet for frame in frames for packet in frame.audio.packets)
    return np.frombuffer(b"".join(packets), dtype="<i2").astype(np.int16)
