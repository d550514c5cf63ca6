"""Recognize (whole recordings) and the other methods, over real gRPC against a real process."""

import io
from typing import Any

import grpc.aio
import numpy as np
import pytest
import soundfile
from integration.asr.calls import Client, fault_of, milliseconds, s16, silence, tone

from parley.asr.v1 import recognition_options_pb2 as options_pb
from parley.asr.v1 import recognition_service_pb2 as pb
from parley.audio.v1 import audio_pb2
from parley_audio.codecs import open_encoder
from parley_audio.pcm import AudioFormat, Encoding
from parley_servicekit.faults import Fault, FaultCode

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE_HZ = 24_000
SAMPLES = np.concatenate(
    [
        silence(500, RATE_HZ),
        tone(1000, RATE_HZ),
        silence(1500, RATE_HZ),
        tone(800, RATE_HZ),
        silence(700, RATE_HZ),
    ]
)


def encoded(encoding: Encoding) -> bytes:
    encoder = open_encoder(AudioFormat(encoding, RATE_HZ))
    return b"".join(packet.data for packet in encoder.encode(SAMPLES) + encoder.flush())


def flac() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, RATE_HZ, format="FLAC")
    return file.getvalue()


FILES = {
    "WAV": lambda: encoded(Encoding.WAV),
    "OGG_OPUS": lambda: encoded(Encoding.OGG_OPUS),
    "MP3": lambda: encoded(Encoding.MP3),
    "FLAC": flac,
}


def transcripts(responses: list[pb.RecognizeResponse]) -> list[pb.Transcript]:
    return [response.transcript for response in responses if response.WhichOneof("response") == "transcript"]


@pytest.mark.parametrize("kind", FILES)
async def test_a_file_is_recognised_utterance_by_utterance(client: Client, kind: str) -> None:
    responses = await client.recognize(FILES[kind](), piece_bytes=10_000)
    first, second = transcripts(responses)
    assert (first.text, second.text) == ("what is the time", "thank you")
    assert first.is_final and second.is_final
    assert abs(milliseconds(first.start_offset) - 500) <= 64
    assert abs(milliseconds(second.start_offset) - 3000) <= 64
    last = responses[-1].progress
    assert last.recognized_offset == last.total_duration
    assert abs(milliseconds(last.total_duration) - 4500) <= 100


async def test_a_raw_recording_is_recognised_in_the_format_it_is_said_to_have(client: Client) -> None:
    wire = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=RATE_HZ)
    responses = await client.recognize(s16(SAMPLES), piece_bytes=9_999, input_audio=wire)
    assert [transcript.text for transcript in transcripts(responses)] == ["what is the time", "thank you"]


REFUSED: list[tuple[str, bytes, dict[str, Any], str]] = [
    ("nothing", b"", {}, "content"),
    ("no audio", b"hello world" * 100, {}, "content"),
    ("a cut WAV header", encoded(Encoding.WAV)[:20], {}, "content"),
    (
        "manual",
        b"\0\0",
        {"endpointing": options_pb.EndpointingOptions(manual=True)},
        "config.endpointing.manual",
    ),
    (
        "raw Opus",
        b"\0\0",
        {"input_audio": audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_OPUS)},
        "config.input_audio.encoding",
    ),
    (
        "no rate",
        b"\0\0",
        {"input_audio": audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_PCM_S16LE)},
        "config.input_audio.sample_rate_hertz",
    ),
    (
        "half a sample",
        b"\0\0\0",
        {
            "input_audio": audio_pb2.AudioFormat(
                encoding=audio_pb2.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=16_000
            )
        },
        "content",
    ),
    (
        "hot words",
        b"\0\0",
        {"recognition": options_pb.RecognitionOptions(hot_words=["a"])},
        "config.recognition.hot_words",
    ),
]


@pytest.mark.parametrize(
    ("content", "fields", "field"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
async def test_bad_recordings_are_refused_by_name(
    client: Client, content: bytes, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(Fault) as refused:
        await client.recognize(content, **fields)
    assert refused.value.code is FaultCode.INVALID_ARGUMENT
    assert refused.value.field == field


async def test_a_piece_beyond_64_kib_is_refused(client: Client) -> None:
    with pytest.raises(Fault) as refused:
        await client.recognize(bytes(65_537), piece_bytes=65_537)
    assert refused.value.field == "content"


@pytest.mark.parametrize("first", [[pb.RecognizeRequest(content=b"\0\0")], [pb.RecognizeRequest()], []])
async def test_content_before_config_is_refused(client: Client, first: list[pb.RecognizeRequest]) -> None:
    fault = await fault_of(client.stub.Recognize(iter(first), timeout=5))
    assert (fault.code, fault.field) == (FaultCode.INVALID_ARGUMENT, "request")


async def test_the_one_model_is_listed(client: Client) -> None:
    (model,) = (await client.stub.ListModels(pb.ListModelsRequest(), timeout=5)).models
    assert model.name == "scripted" and "script" in model.description
    assert model.is_loaded and model.is_streaming and not model.supports_hot_words
    assert list(model.language_codes) == ["en"]


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("PullModel", pb.PullModelRequest),
        ("WatchLoad", pb.WatchLoadRequest),
    ],
)
async def test_what_later_versions_bring_says_so(client: Client, method: str, request_type: Any) -> None:
    fault = await fault_of(getattr(client.stub, method)(request_type(), timeout=5))
    assert fault.code is FaultCode.UNIMPLEMENTED and method in fault.message


async def test_removing_models_says_so_too(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.stub.RemoveModel(pb.RemoveModelRequest(), timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
