"""StreamingRecognize over real gRPC against a real process with the scripted engine."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from integration.asr.calls import (
    DISCARD,
    END,
    FINISH,
    Client,
    Request,
    chunk,
    chunks,
    config,
    fault_of,
    milliseconds,
    s16,
    silence,
    story,
    tone,
)

from parley.asr.v1 import recognition_options_pb2 as options_pb
from parley.audio.v1 import audio_pb2
from parley_audio.codecs import open_encoder
from parley_audio.pcm import AudioFormat, Encoding
from parley_servicekit.faults import FaultCode
from support.processes import StartedProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

TWO_UTTERANCES = np.concatenate((silence(300), tone(900), silence(900), tone(700), silence(900)))
TWO_STORIES = [
    "model:scripted",
    "STARTED",
    "PAUSED",
    "ENDED",
    "final:what is the time",
    "STARTED",
    "PAUSED",
    "ENDED",
    "final:thank you",
]


def duration(length_ms: int) -> Duration:
    return Duration(seconds=length_ms // 1000, nanos=length_ms % 1000 * 1_000_000)


async def test_speech_is_told_from_start_to_final(client: Client) -> None:
    responses = await client.recognize_live([config(), *chunks(TWO_UTTERANCES), END])
    assert story(responses) == TWO_STORIES
    transcripts = [
        response.transcript for response in responses if response.WhichOneof("response") == "transcript"
    ]
    assert any(not transcript.is_final and transcript.text == "what is the" for transcript in transcripts)
    first, second = [transcript for transcript in transcripts if transcript.is_final]
    assert (first.utterance_index, second.utterance_index) == (0, 1)
    assert first.stability == 1.0 and first.language_code == "en"
    assert [word.text for word in first.words] == ["what", "is", "the", "time"]
    assert abs(milliseconds(first.start_offset) - 300) <= 32
    assert abs(milliseconds(first.end_offset) - 1200) <= 32
    assert abs(milliseconds(second.start_offset) - 2100) <= 32


async def test_audio_is_acknowledged(client: Client) -> None:
    responses = await client.recognize_live([config(), *chunks(silence(3000)), END])
    offsets = [
        milliseconds(response.acknowledged.offset)
        for response in responses
        if response.WhichOneof("response") == "acknowledged"
    ]
    assert offsets == sorted(offsets) and len(offsets) >= 3 and offsets[-1] == 3000


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "channel_count"),
    [
        (Encoding.PCM_S16LE, 8_000, 1),
        (Encoding.PCM_S16LE, 44_100, 2),
        (Encoding.PCM_F32LE, 48_000, 1),
        (Encoding.MULAW, 8_000, 1),
        (Encoding.ALAW, 8_000, 1),
        (Encoding.OPUS, 48_000, 1),
        (Encoding.PCM_S16LE, 11_999, 1),
    ],
)
async def test_every_streamed_encoding_is_understood(
    client: Client, encoding: Encoding, rate_hz: int, channel_count: int
) -> None:
    encoder = open_encoder(AudioFormat(encoding, rate_hz, channel_count))
    samples = np.concatenate((silence(300, rate_hz), tone(900, rate_hz), silence(900, rate_hz)))
    packets = []
    for start in range(0, len(samples), rate_hz // 10):
        packets += encoder.encode(samples[start : start + rate_hz // 10])
    packets += encoder.flush()
    wire = audio_pb2.AudioFormat(
        encoding=getattr(audio_pb2, f"AUDIO_ENCODING_{encoding.name}"),
        sample_rate_hertz=rate_hz,
        channel_count=channel_count,
    )
    requests = [config(input_audio=wire), *(chunk(packet.data) for packet in packets), END]
    responses = await client.recognize_live(requests)
    assert story(responses) == TWO_STORIES[:5]
    (final,) = [response.transcript for response in responses if response.transcript.is_final]
    assert abs(milliseconds(final.start_offset) - 300) <= 64


async def test_a_gap_between_chunks_is_silence(client: Client) -> None:
    requests = [
        config(),
        chunk(s16(tone(800))),
        chunk(s16(tone(600)), at=duration(10_000)),
        chunk(at=duration(12_000)),
        END,
    ]
    responses = await client.recognize_live(requests)
    assert story(responses) == TWO_STORIES
    finals = [response.transcript for response in responses if response.transcript.is_final]
    assert abs(milliseconds(finals[1].start_offset) - 10_000) <= 32


async def test_offsets_that_are_rounded_to_milliseconds_are_contiguous(client: Client) -> None:
    wire = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=44_100)
    samples, step = tone(1000, 44_100), 441 + 220
    parts = [
        chunk(s16(samples[start : start + step]), at=duration(start * 1000 // 44_100))
        for start in range(0, len(samples), step)
    ]
    assert story(await client.recognize_live([config(input_audio=wire), *parts, END]))[-1].startswith(
        "final:"
    )


async def test_push_to_talk_ends_when_the_caller_says_so(client: Client) -> None:
    manual = config(endpointing=options_pb.EndpointingOptions(manual=True))
    audio = chunks(np.concatenate((tone(800), silence(3000))))
    responses = await client.recognize_live([manual, *audio, FINISH, FINISH, *audio, FINISH, END])
    assert [word for word in story(responses) if word not in ("PAUSED", "STARTED")] == [
        "model:scripted",
        "ENDED",
        "final:what is the time",
        "final:",
        "ENDED",
        "final:what is the time",
    ]


async def test_a_discarded_utterance_has_no_transcript(client: Client) -> None:
    responses = await client.recognize_live(
        [config(), *chunks(tone(900)), DISCARD, *chunks(silence(2000)), END]
    )
    assert story(responses) == ["model:scripted", "STARTED"]


async def test_the_end_silence_is_the_callers(client: Client) -> None:
    audio = chunks(np.concatenate((tone(500), silence(500), tone(500), silence(200))))
    for end_ms, count in ((300, 2), (1000, 1)):
        options = options_pb.EndpointingOptions(end_silence_duration=duration(end_ms))
        told = story(await client.recognize_live([config(endpointing=options), *audio, END]))
        assert len([word for word in told if word.startswith("final")]) == count


@pytest.mark.parametrize(
    "audio",
    [[], [chunk()], [chunk(s16(tone(1)))], [chunk(s16(silence(10)))]],
    ids=["none", "empty", "1 ms", "10 ms"],
)
async def test_next_to_no_audio_is_fine(client: Client, audio: list[Request]) -> None:
    assert story(await client.recognize_live([config(), *audio, END])) == ["model:scripted"]


async def test_audio_faster_than_real_time_is_all_recognised(client: Client) -> None:
    big = [chunk(s16(tone(1900))), chunk(s16(silence(1900)))] * 30
    told = story(await client.recognize_live([config(), *big, END]))
    assert sum(word.startswith("final") for word in told) == 30


def bad_format(**fields: Any) -> Request:
    good: dict[str, Any] = {"encoding": audio_pb2.AUDIO_ENCODING_PCM_S16LE, "sample_rate_hertz": 16_000}
    return config(input_audio=audio_pb2.AudioFormat(**{**good, **fields}))


def recognition(**fields: Any) -> Request:
    return config(recognition=options_pb.RecognitionOptions(**fields))


def endpointing(**fields: Any) -> Request:
    return config(endpointing=options_pb.EndpointingOptions(**fields))


F32 = bad_format(encoding=audio_pb2.AUDIO_ENCODING_PCM_F32LE)
OPUS = bad_format(encoding=audio_pb2.AUDIO_ENCODING_OPUS, sample_rate_hertz=48_000)
REFUSED: list[tuple[str, list[Request], str]] = [
    ("audio before config", [chunk(b"\0\0")], "request"),
    ("an empty message first", [Request()], "request"),
    ("an empty message later", [config(), Request()], "request"),
    ("a second config", [config(), config()], "request"),
    ("no encoding", [bad_format(encoding=0)], "config.input_audio.encoding"),
    ("an unknown encoding", [bad_format(encoding=77)], "config.input_audio.encoding"),
    ("a file encoding", [bad_format(encoding=audio_pb2.AUDIO_ENCODING_WAV)], "config.input_audio.encoding"),
    ("MP3", [bad_format(encoding=audio_pb2.AUDIO_ENCODING_MP3)], "config.input_audio.encoding"),
    ("no rate", [bad_format(sample_rate_hertz=0)], "config.input_audio.sample_rate_hertz"),
    ("7999 Hz", [bad_format(sample_rate_hertz=7999)], "config.input_audio.sample_rate_hertz"),
    ("48001 Hz", [bad_format(sample_rate_hertz=48_001)], "config.input_audio.sample_rate_hertz"),
    ("3 channels", [bad_format(channel_count=3)], "config.input_audio.channel_count"),
    ("-1 channels", [bad_format(channel_count=-1)], "config.input_audio.channel_count"),
    ("an unknown model", [recognition(model="whisper")], "config.recognition.model"),
    ("a long model name", [recognition(model="m" * 129)], "config.recognition.model"),
    ("another language", [recognition(language_codes=["zh"])], "config.recognition.language_codes"),
    ("no language code", [recognition(language_codes=["klingon!"])], "config.recognition.language_codes"),
    ("nine languages", [recognition(language_codes=["en"] * 9)], "config.recognition.language_codes"),
    ("hot words", [recognition(hot_words=["parley"])], "config.recognition.hot_words"),
    ("punctuation", [recognition(punctuation=True)], "config.recognition.punctuation"),
    ("translation", [recognition(task=options_pb.RECOGNITION_TASK_TRANSLATE)], "config.recognition.task"),
    ("an unknown task", [recognition(task=9)], "config.recognition.task"),
    (
        "99 ms of silence",
        [endpointing(end_silence_duration=duration(99))],
        "config.endpointing.end_silence_duration",
    ),
    (
        "11 s of silence",
        [endpointing(end_silence_duration=duration(11_000))],
        "config.endpointing.end_silence_duration",
    ),
    (
        "negative silence",
        [endpointing(end_silence_duration=Duration(seconds=-1))],
        "config.endpointing.end_silence_duration",
    ),
    (
        "a pause longer than the end",
        [endpointing(end_silence_duration=duration(200), pause_silence_duration=duration(201))],
        "config.endpointing.pause_silence_duration",
    ),
    ("a threshold of 1", [endpointing(speech_threshold=1.0)], "config.endpointing.speech_threshold"),
    (
        "a threshold of NaN",
        [endpointing(speech_threshold=float("nan"))],
        "config.endpointing.speech_threshold",
    ),
    ("half a sample", [config(), chunk(b"\0\0\0")], "audio.packets"),
    ("half a sample in one of two packets", [config(), chunk(b"\0", b"\0")], "audio.packets"),
    ("an empty packet", [config(), chunk(b"\0\0", b"")], "audio.packets"),
    ("64 KiB and a sample", [config(), chunk(bytes(65_538))], "audio.packets"),
    ("1001 packets", [config(), chunk(*[b"\0\0"] * 1001)], "audio.packets"),
    ("NaN", [F32, chunk(np.full(100, np.nan, "<f4").tobytes())], "audio.packets"),
    ("infinity", [F32, chunk(np.full(100, np.inf, "<f4").tobytes())], "audio.packets"),
    ("garbage as Opus", [OPUS, chunk(b"\xff" * 50)], "audio.packets"),
    ("an earlier offset", [config(), chunk(s16(tone(100))), chunk(at=duration(50))], "audio.start_offset"),
    ("a gap of 61 s", [config(), chunk(at=duration(61_000))], "audio.start_offset"),
    ("a negative offset", [config(), chunk(at=Duration(seconds=-1))], "audio.start_offset"),
    ("impossible nanos", [config(), chunk(at=Duration(nanos=2_000_000_000))], "audio.start_offset"),
]


@pytest.mark.parametrize(
    ("requests", "field"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
async def test_bad_input_is_refused_by_name_and_at_once(
    client: Client, requests: list[Request], field: str
) -> None:
    call = client.stream()
    began = time.monotonic()
    for request in requests:
        await call.write(request)
    fault = await fault_of(call)
    assert time.monotonic() - began < 1
    is_unknown_model = fault.reason == "MODEL_NOT_FOUND"
    assert fault.code is (FaultCode.NOT_FOUND if is_unknown_model else FaultCode.INVALID_ARGUMENT)
    assert fault.field == field
    assert fault.domain == "asr.parley"


async def test_a_message_beyond_a_mebibyte_is_refused(client: Client) -> None:
    call = client.stream()
    await call.write(config())
    await call.write(chunk(bytes(2 << 20)))
    assert (await fault_of(call)).code is FaultCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("codes", [["en"], ["en-US"], ["EN-gb", "en"]])
async def test_regional_codes_of_a_known_language_are_accepted(client: Client, codes: list[str]) -> None:
    assert story(await client.recognize_live([recognition(language_codes=codes), END])) == ["model:scripted"]


async def test_a_stream_without_its_end_message_is_abandoned(client: Client) -> None:
    told = story(await client.recognize_live([config(), *chunks(tone(900))]))
    assert told == ["model:scripted", "STARTED"]


async def test_a_cancelled_stream_gives_its_place_back(
    client: Client, scripted_process: StartedProcess
) -> None:
    for _ in range(60):  # more than there are places
        call = client.stream()
        await call.write(config())
        await call.read()
        call.cancel()
    assert story(await client.recognize_live([config(), *chunks(TWO_UTTERANCES), END])) == TWO_STORIES


async def test_a_client_that_never_reads_holds_nobody_up(client: Client) -> None:
    silent = client.stream()
    await silent.write(config())

    async def flood() -> None:
        for request in chunks(tone(60_000)):
            await silent.write(request)

    async with asyncio.TaskGroup() as tasks:
        flooding = tasks.create_task(flood(), name="flood")
        assert story(await client.recognize_live([config(), *chunks(TWO_UTTERANCES), END])) == TWO_STORIES
        flooding.cancel()
    silent.cancel()


async def test_nothing_that_was_said_is_logged(client: Client, scripted_process: StartedProcess) -> None:
    await client.recognize_live([config(), *chunks(TWO_UTTERANCES), END])
    logs = scripted_process.logs()
    assert '"call.ended"' in logs
    assert "what is" not in logs and "thank" not in logs
