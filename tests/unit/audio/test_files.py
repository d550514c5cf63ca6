"""Whole files: many containers in, 16 kHz mono out, and nothing that a hostile file says is believed."""

import contextlib
import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import parley_audio
from parley_audio.codecs import open_decoder
from parley_audio.files import FileLimits, decode_file
from parley_audio.pcm import AudioError, AudioFormat, Encoding, Samples
from parley_audio.wav import WavWriter, read_wav, write_wav

READERS: list[Callable[[bytes], object]] = [lambda data: list(decode_file(data)), read_wav]


def tone(rate_hz: int = 16_000, sample_count: int = 16_000) -> Samples:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(sample_count) / rate_hz)).astype(np.float32)


def sound_file(samples: Samples, rate_hz: int, container: str, subtype: str) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, rate_hz, format=container, subtype=subtype)
    return target.getvalue()


def av_file(samples: Samples, container: str, codec: str) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=48_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis, :], format="flt", layout="mono")
        frame.sample_rate = 48_000
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return target.getvalue()


def decoded(data: bytes | Path, limits: FileLimits | None = None) -> Samples:
    return np.concatenate(list(decode_file(data, limits)))


@pytest.mark.parametrize(
    ("container", "subtype", "rate_hz"),
    [
        ("WAV", "PCM_16", 16_000),
        ("WAV", "PCM_24", 48_000),
        ("WAV", "FLOAT", 44_100),
        ("WAV", "ULAW", 8_000),
        ("WAV", "PCM_16", 96_000),
        ("FLAC", "PCM_16", 22_050),
        ("OGG", "VORBIS", 24_000),
        ("AIFF", "PCM_16", 16_000),
    ],
)
def test_files_of_libsndfile_are_heard(container: str, subtype: str, rate_hz: int) -> None:
    data = sound_file(tone(rate_hz, rate_hz), rate_hz, container, subtype)
    heard = decoded(data)
    # FFmpeg does not cut the padding of the last Vorbis block.
    assert len(heard) == pytest.approx(16_000, abs=400 if subtype == "VORBIS" else 40)
    assert np.std(heard[1_000:-1_000]) == pytest.approx(np.std(tone()), rel=0.05)
    samples, read_hz = read_wav(data)
    assert (len(samples), read_hz) == (rate_hz, rate_hz)


@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "aac"), ("webm", "libopus"), ("matroska", "flac"), ("adts", "aac")]
)
def test_files_of_ffmpeg_are_heard(container: str, codec: str) -> None:
    heard = decoded(av_file(tone(48_000, 48_000), container, codec))
    assert len(heard) == pytest.approx(16_000, abs=1_000)
    assert np.std(heard[1_000:-1_000]) == pytest.approx(np.std(tone()), rel=0.05)


def test_two_channels_become_their_mean() -> None:
    stereo = np.stack([tone(), -tone()], axis=1)
    data = sound_file(stereo, 16_000, "WAV", "FLOAT")
    assert np.abs(read_wav(data)[0]).max() < 1e-6
    assert np.abs(decoded(data)).max() < 1e-3


def test_metadata_in_an_unknown_character_set_is_no_obstacle() -> None:
    data = sound_file(tone(), 16_000, "WAV", "PCM_16")
    info = b"INFOINAM" + struct.pack("<I", 4) + b"\xff\xfe\xe9\x80"
    tagged = data + b"LIST" + struct.pack("<I", len(info)) + info
    tagged = tagged[:4] + struct.pack("<I", len(tagged) - 8) + tagged[8:]
    assert len(decoded(tagged)) == 16_000


def test_without_pyav_libsndfile_is_enough_for_wav(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sound_file(tone(48_000, 48_000), 48_000, "WAV", "PCM_16")
    with_av = decoded(data)
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "parley_audio.av_codecs", raising=False)
    monkeypatch.delattr(parley_audio, "av_codecs", raising=False)
    without_av = decoded(data)
    assert len(without_av) == 16_000
    assert np.abs(with_av[1_000:15_000] - without_av[1_000:15_000]).max() < 1e-2
    with pytest.raises(AudioError, match=r"parley-audio\[codecs\]"):
        open_decoder(AudioFormat(Encoding.OPUS, 48_000))


@pytest.mark.parametrize("read", READERS)
@given(data=st.binary(min_size=1, max_size=400))
@settings(deadline=None)
def test_bytes_that_are_no_file_are_refused(read: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(AudioError):
        read(data)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
@given(at=st.floats(0, 1), patch=st.binary(min_size=1, max_size=8), cut=st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_a_damaged_file_is_heard_in_part_or_refused(
    read: Callable[[bytes], object], container: str, at: float, patch: bytes, cut: float
) -> None:
    data = bytearray(DAMAGED[container])
    start = int(at * (len(data) - len(patch)))
    data[start : start + len(patch)] = patch
    with contextlib.suppress(AudioError):
        read(bytes(data[: int(cut * len(data))]))


DAMAGED = {
    "WAV": sound_file(tone(sample_count=2_000), 16_000, "WAV", "PCM_16"),
    "FLAC": sound_file(tone(sample_count=2_000), 16_000, "FLAC", "PCM_16"),
    "OGG": sound_file(tone(sample_count=2_000), 16_000, "OGG", "VORBIS"),
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "playlist",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_a_file_cannot_make_us_open_another(read: Callable[[bytes], object], playlist: bytes) -> None:
    with pytest.raises(AudioError):
        read(playlist)


@pytest.mark.parametrize("read", READERS)
def test_a_header_that_promises_four_gigabytes_costs_nothing(read: Callable[[bytes], object]) -> None:
    data = bytearray(sound_file(tone(sample_count=100), 16_000, "WAV", "PCM_16"))
    data[40:44] = struct.pack("<I", 0xFFFFFF00)
    read(bytes(data))


def test_size_duration_and_time_are_bounded() -> None:
    data = sound_file(tone(), 16_000, "WAV", "PCM_16")
    with pytest.raises(AudioError, match="larger than 1000 bytes"):
        decode_file(data, FileLimits(max_bytes=1_000))
    with pytest.raises(AudioError, match="longer than 500 ms"):
        decoded(data, FileLimits(max_duration_ms=500))
    with pytest.raises(AudioError, match="longer than 500 ms"):
        read_wav(data, max_duration_ms=500)
    with pytest.raises(AudioError, match="took longer than 0 ms"):
        decoded(data, FileLimits(max_decoding_ms=0))
    assert len(decoded(data, FileLimits(max_duration_ms=1_000))) == 16_000


@pytest.mark.parametrize("data", [b"", sound_file(np.zeros(0, np.float32), 16_000, "WAV", "PCM_16")])
def test_a_file_without_audio_says_so(data: bytes) -> None:
    with pytest.raises(AudioError, match=r"empty|no audio"):
        decoded(data)


def test_a_wav_written_in_pieces_is_the_one_written_at_once(tmp_path: Path) -> None:
    samples = tone()
    write_wav(tmp_path / "whole.wav", samples, 16_000)
    with WavWriter(tmp_path / "pieces.wav", 16_000) as writer:
        for at in range(0, len(samples), 123):
            writer.write(samples[at : at + 123])
    assert (tmp_path / "whole.wav").read_bytes() == (tmp_path / "pieces.wav").read_bytes()
    heard, rate_hz = read_wav(tmp_path / "pieces.wav")
    assert rate_hz == 16_000
    assert np.abs(heard - samples).max() <= 1 / 32768
    assert np.array_equal(decoded(tmp_path / "pieces.wav"), heard)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    for read in (decode_file, read_wav):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "missing.wav")
