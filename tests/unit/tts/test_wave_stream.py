"""WaveStream: streamed WAV headers that lie about sizes, pieces that cut samples."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_tts.engines.wave_stream import WaveStream, WaveStreamError


def header(
    rate_hz: int = 32_000, *, channels: int = 1, bits: int = 16, kind: int = 1, extra: bytes = b""
) -> bytes:
    form = struct.pack("<HHIIHH", kind, channels, rate_hz, 2 * rate_hz, 2, bits)
    return b"RIFF\x24\0\0\0WAVE" + extra + b"fmt \x10\0\0\0" + form + b"data\0\0\0\0"


@given(cuts=st.lists(st.integers(0, 300), max_size=30), extra=st.sampled_from([b"", b"LIST\x03\0\0\0abc\0"]))
def test_any_cut_of_the_stream_gives_the_same_samples(cuts: list[int], extra: bytes) -> None:
    audio = np.arange(-60, 60, dtype="<i2")
    data = header(extra=extra) + audio.tobytes()
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    stream = WaveStream(32_000)
    parts = [stream.push(data[start:end]) for start, end in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate(parts) * 32768, audio)
    assert stream.sample_count == len(audio)


def test_a_last_half_sample_is_dropped() -> None:
    stream = WaveStream(32_000)
    assert len(stream.push(header() + b"\1\2\3")) == 1


@pytest.mark.parametrize(
    "data",
    [
        header(16_000),
        header(channels=2),
        header(bits=8),
        header(kind=3),
        b"<html>",
        b"RIFF\0\0\0\0JUNKfmt ",
        b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\x7f",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(WaveStreamError):
        WaveStream(32_000).push(data)


def test_a_header_alone_has_begun_and_has_no_samples() -> None:
    stream = WaveStream(32_000)
    assert len(stream.push(header()[:40])) == 0 and not stream.has_begun
    assert len(stream.push(header()[40:])) == 0 and stream.has_begun
