"""Forms of a transcript, and the header of a WAV file that came as a stream."""

import io
import json
from pathlib import Path

import pytest
import soundfile

from parley.asr.v1 import recognition_service_pb2 as asr_pb2
from parley_cli.commands.say import _with_lengths
from parley_cli.commands.transcribe import Format, render

FILE = Path("talk.wav")


def transcript(start_ms: int, end_ms: int, text: str) -> asr_pb2.Transcript:
    made = asr_pb2.Transcript(text=text, is_final=True)
    made.start_offset.FromMilliseconds(start_ms)
    made.end_offset.FromMilliseconds(end_ms)
    return made


TWO = [transcript(0, 1500, "good morning"), transcript(3_723_004, 3_724_999, "你好")]


def test_text_is_a_line_per_utterance() -> None:
    assert render(Format.TXT, FILE, TWO) == "good morning\n你好"


def test_json_is_one_line_with_seconds() -> None:
    line = render(Format.JSON, FILE, TWO)
    assert "\n" not in line
    assert "你好" in line
    assert json.loads(line) == {
        "file": "talk.wav",
        "utterances": [
            {"start_s": 0.0, "end_s": 1.5, "text": "good morning"},
            {"start_s": 3723.004, "end_s": 3724.999, "text": "你好"},
        ],
    }


def test_subrip_numbers_its_cues_and_has_commas() -> None:
    assert render(Format.SRT, FILE, TWO) == (
        "1\n00:00:00,000 --> 00:00:01,500\ngood morning\n\n2\n01:02:03,004 --> 01:02:04,999\n你好\n"
    )


def test_webvtt_has_its_header_and_points() -> None:
    assert render(Format.VTT, FILE, TWO) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\ngood morning\n\n01:02:03.004 --> 01:02:04.999\n你好\n"
    )


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Format.TXT, ""),
        (Format.JSON, '{"file": "talk.wav", "utterances": []}'),
        (Format.SRT, ""),
        (Format.VTT, "WEBVTT\n"),
    ],
)
def test_silence_is_a_valid_empty_transcript(form: Format, text: str) -> None:
    assert render(form, FILE, []) == text


def test_a_streamed_wav_gets_its_lengths() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, [0.0] * 100, 24_000, format="WAV", subtype="PCM_16")
    whole = stream.getvalue()
    streamed = whole[:4] + b"\xff" * 4 + whole[8:40] + b"\xff" * 4 + whole[44:]
    assert _with_lengths(streamed) == whole


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 100])
def test_what_is_no_streamed_wav_is_left_as_it_is(content: bytes) -> None:
    assert _with_lengths(content) == content
