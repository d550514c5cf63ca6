"""The tts process with its embedded engine: everything a caller may send, good and bad."""

import asyncio
import io
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import grpc.aio
import numpy as np
import pytest
import pytest_asyncio
import soundfile
from grpc_health.v1 import health_pb2, health_pb2_grpc

from parley.audio.v1 import audio_pb2
from parley.tts.v1 import synthesis_options_pb2 as options_pb
from parley.tts.v1 import synthesis_service_pb2 as pb
from parley_servicekit.faults import FaultCode
from support.tts_client import (
    END,
    SERVICE,
    Tts,
    collect,
    config,
    fault_of,
    refusal_of,
    running_tts,
    stream,
    text,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
REPLY = "Hello there, friend. It is 3.14, isn't it? 你好。 **Good** night!"
SECRET = "Zanzibar"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def tts() -> AsyncIterator[Tts]:
    async with running_tts(ESPEAK_CHILD_COUNT="2", MAX_STREAMS="4", TEXT_IDLE_TIMEOUT_MS="1500") as started:
        yield started


def seconds(duration: Any) -> float:
    return float(duration.ToNanoseconds() / 1e9)


async def test_a_reply_is_spoken_as_it_is_written(tts: Tts) -> None:
    spoken = await stream(tts.stub, [config(), *map(text, REPLY), END])
    assert "".join(mark.text for mark in spoken.marks) == REPLY
    assert [mark.index for mark in spoken.marks] == list(range(len(spoken.marks)))
    assert all(mark.HasField("duration") and mark.words for mark in spoken.marks)
    assert seconds(spoken.finished.audio_duration) == pytest.approx(len(spoken.audio) / 48_000, abs=1e-6)
    assert spoken.finished.voice == "en-us"
    end_ns = 0
    for chunk in spoken.chunks:
        assert chunk.start_offset.ToNanoseconds() == end_ns
        assert 0 < chunk.duration.ToNanoseconds() <= 100_000_000
        end_ns += chunk.duration.ToNanoseconds()
    assert np.frombuffer(spoken.audio, "<i2").std() > 300


async def test_audio_comes_before_the_text_is_whole(tts: Tts) -> None:
    call = tts.stub.StreamingSynthesize(timeout=20)
    await call.write(config())
    await call.write(text("Hello there, my friend. And"))
    kinds = [(await call.read()).WhichOneof("response") for _ in range(3)]
    assert kinds == ["phrase", "audio", "audio"]
    await call.write(text(" so on."))
    await call.write(END)
    await call.done_writing()
    responses = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response.WhichOneof("response"))
    assert responses[-1] == "finished" and responses.count("phrase") >= 1


@pytest.mark.parametrize("written", ["", "   ", "...!?", "😀"])
async def test_nothing_to_say_finishes_without_audio(tts: Tts, written: str) -> None:
    spoken = await stream(tts.stub, [config(), text(written), END])
    assert not spoken.chunks and seconds(spoken.finished.audio_duration) == 0


@pytest.mark.parametrize(
    ("encoding", "rate", "bytes_a_sample"),
    [
        ("PCM_S16LE", 8_000, 2),
        ("PCM_F32LE", 48_000, 4),
        ("MULAW", 8_000, 1),
        ("ALAW", 16_000, 1),
        ("OPUS", 48_000, 0),
    ],
)
async def test_every_live_encoding(tts: Tts, encoding: str, rate: int, bytes_a_sample: int) -> None:
    wanted = audio_pb2.AudioFormat(
        encoding=audio_pb2.AudioEncoding.Value(f"AUDIO_ENCODING_{encoding}"), sample_rate_hertz=rate
    )
    spoken = await stream(tts.stub, [config(output_audio=wanted), text(REPLY), END])
    length = seconds(spoken.finished.audio_duration)
    assert 2 < length < 12
    if bytes_a_sample:
        assert len(spoken.audio) == round(length * rate) * bytes_a_sample
    else:
        decoder = av.CodecContext.create("opus", "r")
        packets = [packet for chunk in spoken.chunks for packet in chunk.packets]
        decoded = sum(frame.samples for packet in packets for frame in decoder.decode(av.Packet(packet)))
        assert decoded / 48_000 == pytest.approx(length, abs=0.1)


@pytest.mark.parametrize("encoding", ["WAV", "OGG_OPUS", "MP3"])
async def test_every_file_encoding(tts: Tts, encoding: str) -> None:
    wanted = audio_pb2.AudioFormat(encoding=audio_pb2.AudioEncoding.Value(f"AUDIO_ENCODING_{encoding}"))
    spoken = await collect(
        tts.stub.Synthesize(pb.SynthesizeRequest(text=REPLY, output_audio=wanted), timeout=20)
    )
    with av.open(io.BytesIO(spoken.audio)) as container:
        frames = list(container.decode(audio=0))
    length = sum(frame.samples / frame.sample_rate for frame in frames)
    assert length == pytest.approx(seconds(spoken.finished.audio_duration), abs=0.15)


async def test_a_text_is_a_wav_file_by_default(tts: Tts) -> None:
    spoken = await collect(tts.stub.Synthesize(pb.SynthesizeRequest(text="Good evening."), timeout=20))
    samples, rate = soundfile.read(io.BytesIO(spoken.audio))
    assert rate == 24_000 and len(samples) == round(seconds(spoken.finished.audio_duration) * rate)


async def test_options_are_honoured(tts: Tts) -> None:
    async def length_and_peak(**fields: Any) -> tuple[float, int]:
        options = options_pb.SynthesisOptions(**fields)
        spoken = await stream(tts.stub, [config(synthesis=options), text("The evening was long."), END])
        return seconds(spoken.finished.audio_duration), int(np.abs(np.frombuffer(spoken.audio, "<i2")).max())

    plain, loud = await length_and_peak()
    fast, _ = await length_and_peak(speed=2.0)
    _, quiet = await length_and_peak(volume=0.25)
    _, silent = await length_and_peak(volume=0.0)
    assert fast / plain == pytest.approx(0.5, abs=0.1)
    assert quiet / loud == pytest.approx(0.25, abs=0.02) and silent == 0
    german = options_pb.SynthesisOptions(language_code="de-DE", seed=5)
    spoken = await stream(tts.stub, [config(synthesis=german), text("Guten Abend."), END])
    assert spoken.finished.voice == "de"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"voice": "nobody"}, "config.synthesis.voice"),
        ({"voice": "v" * 129}, "config.synthesis.voice"),
        ({"voice": "en-us+nobody"}, "config.synthesis.voice"),
        ({"speed": 0.1}, "config.synthesis.speed"),
        ({"speed": 0.25}, "config.synthesis.speed"),
        ({"speed": float("nan")}, "config.synthesis.speed"),
        ({"pitch": 2.0}, "config.synthesis.pitch"),
        ({"volume": 2.5}, "config.synthesis.volume"),
        ({"language_code": "tlh"}, "config.synthesis.language_code"),
        ({"language_code": "x" * 100}, "config.synthesis.language_code"),
        ({"voice": "de", "language_code": "fr"}, "config.synthesis.language_code"),
    ],
)
async def test_bad_options_are_refused_by_name(tts: Tts, fields: dict[str, Any], named: str) -> None:
    options = options_pb.SynthesisOptions(**fields)
    fault = await refusal_of(tts.stub, [config(synthesis=options)])
    assert (fault.code, fault.field) == (FaultCode.INVALID_ARGUMENT, named)
    assert fault.domain == "tts.parley"
    call = tts.stub.Synthesize(pb.SynthesizeRequest(text="Hi.", synthesis=options), timeout=10)
    assert (await fault_of(collect(call))).field == named.removeprefix("config.")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "encoding"),
        ({"encoding": 1}, "sample_rate_hertz"),
        ({"encoding": 99, "sample_rate_hertz": 24_000}, "encoding"),
        ({"encoding": 1, "sample_rate_hertz": 7_999}, "sample_rate_hertz"),
        ({"encoding": 1, "sample_rate_hertz": -1}, "sample_rate_hertz"),
        ({"encoding": 5, "sample_rate_hertz": 44_100}, "sample_rate_hertz"),
        ({"encoding": 6, "sample_rate_hertz": 24_000}, "encoding"),
        ({"encoding": 1, "sample_rate_hertz": 24_000, "channel_count": 2}, "channel_count"),
    ],
)
async def test_bad_formats_are_refused_by_name(tts: Tts, fields: dict[str, int], named: str) -> None:
    wanted = audio_pb2.AudioFormat(**fields)
    fault = await refusal_of(tts.stub, [config(output_audio=wanted)])
    assert (fault.code, fault.field) == (FaultCode.INVALID_ARGUMENT, f"config.output_audio.{named}")


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ([text("Hi.")], "INVALID_ORDER"),
        ([END], "INVALID_ORDER"),
        ([pb.StreamingSynthesizeRequest()], "INVALID_ORDER"),
        ([config(), config()], "INVALID_ORDER"),
        ([config(), pb.StreamingSynthesizeRequest()], "INVALID_ORDER"),
        ([config(), text("x" * 32_769)], "INVALID_FIELD"),
        ([config(), text("字" * 10_923)], "INVALID_FIELD"),
        ([], "ABANDONED"),
        ([config()], "ABANDONED"),
        ([config(), text("This is never finished")], "ABANDONED"),
    ],
)
async def test_bad_orders_and_sizes_are_refused(tts: Tts, requests: list[Any], reason: str) -> None:
    fault = await refusal_of(tts.stub, requests, closes=reason == "ABANDONED")
    assert fault.reason == reason
    assert fault.code is (FaultCode.CANCELLED if reason == "ABANDONED" else FaultCode.INVALID_ARGUMENT)


async def test_more_than_a_megabyte_in_all_is_refused(tts: Tts) -> None:
    fault = await refusal_of(tts.stub, [config(), *[text("." * 32_768)] * 33])
    assert (fault.reason, fault.field) == ("INVALID_FIELD", "text")


@pytest.mark.parametrize("written", ["", "?!", "x" * ((1 << 20) + 1)])
async def test_bad_whole_texts_are_refused(tts: Tts, written: str) -> None:
    fault = await fault_of(collect(tts.stub.Synthesize(pb.SynthesizeRequest(text=written), timeout=10)))
    assert (fault.code, fault.field) == (FaultCode.INVALID_ARGUMENT, "text")


async def test_a_caller_who_writes_nothing_is_let_go(tts: Tts) -> None:
    call = tts.stub.StreamingSynthesize(timeout=20)
    await call.write(config())
    fault = await fault_of(call.read())
    assert (fault.reason, fault.code) == ("TEXT_IDLE", FaultCode.DEADLINE_EXCEEDED)


async def test_what_this_version_lacks_says_so(tts: Tts) -> None:
    calls = [
        tts.stub.CreateVoice(iter([pb.CreateVoiceRequest()])),
        tts.stub.DeleteVoice(pb.DeleteVoiceRequest()),
        collect(tts.stub.PullModel(pb.PullModelRequest())),
        tts.stub.RemoveModel(pb.RemoveModelRequest()),
        collect(tts.stub.WatchLoad(pb.WatchLoadRequest())),
    ]
    for call in calls:
        fault = await fault_of(call)
        assert (fault.code, fault.reason) == (FaultCode.UNIMPLEMENTED, "NOT_IN_THIS_VERSION")


async def test_voices_and_models_are_listed(tts: Tts) -> None:
    voices = (await tts.stub.ListVoices(pb.ListVoicesRequest())).voices
    assert voices[0].name == "en-us" and 100 < len(voices) <= 1000
    assert {"de", "cmn", "ja", "en-us+f3"} <= {voice.name for voice in voices}
    (model,) = (await tts.stub.ListModels(pb.ListModelsRequest())).models
    assert model.is_loaded


async def test_all_streams_taken_is_refused_and_a_cancelled_one_is_free_again(tts: Tts) -> None:
    calls = [tts.stub.StreamingSynthesize(timeout=20) for _ in range(4)]
    for call in calls:
        await call.write(config())
        await call.write(text("Hello there, my friend. "))
        await call.read()
    fault = await refusal_of(tts.stub, [])
    assert (fault.code, fault.reason) == (FaultCode.RESOURCE_EXHAUSTED, "AT_CAPACITY")
    assert fault.retry_after_ms
    for call in calls:
        call.cancel()
    await _until(lambda: _spoken(tts))


async def test_killed_children_are_replaced_and_health_tells(tts: Tts) -> None:
    for _ in range(2):
        for pid in _children(tts.process.pid):
            os.kill(pid, signal.SIGKILL)
        spoken = await stream(tts.stub, [config(), text(REPLY), END])
        assert spoken.finished is not None
        assert "".join(mark.text for mark in spoken.marks) == REPLY
    health = health_pb2_grpc.HealthStub(tts.channel)

    async def is_serving() -> bool:
        answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        return (
            bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
            and len(_children(tts.process.pid)) == 2
        )

    await _until(is_serving)


async def test_metrics_tell_what_happened(tts: Tts) -> None:
    await stream(tts.stub, [config(), text("Hi."), END])
    page = await _metrics(tts)
    for line in (
        'parley_tts_requests_total{outcome="completed",reason=""}',
        'parley_tts_requests_total{outcome="refused",reason="UNKNOWN_VOICE"}',
        "parley_tts_first_audio_seconds_count",
        "parley_tts_real_time_factor_ratio_count",
        "parley_tts_engine_available 1.0",
        "parley_tts_streams_running 0.0",
    ):
        assert line in page


async def test_what_is_said_is_in_no_log(tts: Tts) -> None:
    await stream(tts.stub, [config(), text(f"{SECRET} is far away."), END])
    options = options_pb.SynthesisOptions(voice=SECRET)
    await refusal_of(tts.stub, [config(synthesis=options)])
    assert "synthesis.ended" in tts.process.logs()
    assert "failed_unexpectedly" not in tts.process.logs()
    assert SECRET not in tts.process.logs()
    assert SECRET not in await _metrics(tts)


async def test_a_term_signal_lets_a_running_stream_finish() -> None:
    async with running_tts() as tts:
        children = _children(tts.process.pid)
        call = tts.stub.StreamingSynthesize(timeout=20)
        await call.write(config())
        await call.write(text("Hello there, my friend. And"))
        await call.read()
        tts.process.terminate()
        await _until(lambda: _refused(tts))
        await call.write(text(" so on."))
        await call.write(END)
        await call.done_writing()
        kinds = []
        while (response := await call.read()) is not grpc.aio.EOF:
            kinds.append(response.WhichOneof("response"))
        assert kinds[-1] == "finished"
        assert await tts.process.wait() == 0
        assert not _exist(children)


async def _spoken(tts: Tts) -> bool:
    try:
        return (await collect(tts.stub.Synthesize(pb.SynthesizeRequest(text="Hi.")))).finished is not None
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        return False


async def _refused(tts: Tts) -> bool:
    try:
        await tts.stub.ListVoices(pb.ListVoicesRequest(), timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


async def _until(check: Any, limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not await check():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.02)


async def _metrics(tts: Tts) -> str:
    host, _, port = tts.process.metrics_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    page = await reader.read()
    writer.close()
    return page.decode()


def _children(pid: int) -> list[int]:
    """Living espeak-ng children of a process."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if Path(f"/proc/{child}/cmdline").read_bytes()]


def _exist(pids: list[int]) -> bool:
    return any(Path(f"/proc/{pid}").exists() for pid in pids)
