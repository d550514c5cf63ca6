"""Any sound file, hostile or not, to 16 kHz mono within bounds. For asr's Recognize and tts's voice clips.

PyAV (the extra `codecs`) opens WAV, MP3, Ogg, FLAC, AAC, MP4, WebM and more; without it libsndfile opens WAV,
FLAC, Ogg and MP3. CPU-bound: run it off the event loop.
"""

import io
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from parley_audio.pcm import AudioError, Samples
from parley_audio.resampling import Resampler
from parley_audio.wav import read_wav

FILE_RATE_HZ = 16_000
# Containers whose demuxers read only the bytes they are given: no playlists, no references elsewhere.
_CONTAINERS = "aac,ac3,aiff,amr,ape,asf,au,caf,flac,matroska,webm,mov,mp4,mp3,ogg,tta,w64,wav,wv"
_BAD_PACKET_MAX_COUNT = 100


@dataclass(frozen=True, slots=True)
class FileLimits:
    """How much a file may hold and cost."""

    max_bytes: int = 500 << 20
    max_duration_ms: int = 4 * 3_600_000
    max_decoding_ms: int = 600_000
    """Wall time for the whole file, including what the consumer of the chunks takes."""


def decode_file(source: Path | bytes, limits: FileLimits | None = None) -> Iterator[Samples]:
    """Chunks of float32 mono at 16 kHz, in order, none of them empty.

    AudioError when it is no audio, is damaged throughout, or goes beyond `limits`; what was decoded before
    that has been yielded. OSError when there is no such file.
    """
    limits = limits or FileLimits()
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size == 0:
        raise AudioError("the file is empty")
    if size > limits.max_bytes:
        raise AudioError(f"larger than {limits.max_bytes} bytes")
    return _bounded(_chunks(source, limits), limits)


def _bounded(chunks: Iterator[Samples], limits: FileLimits) -> Iterator[Samples]:
    remaining = limits.max_duration_ms * FILE_RATE_HZ // 1000
    deadline = time.monotonic() + limits.max_decoding_ms / 1000
    count = 0
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise AudioError(f"took longer than {limits.max_decoding_ms} ms to decode")
        count += len(chunk)
        if count > remaining:
            raise AudioError(f"longer than {limits.max_duration_ms} ms")
        if len(chunk):
            yield chunk
    if count == 0:
        raise AudioError("there is no audio in the file")


def _chunks(source: Path | bytes, limits: FileLimits) -> Iterator[Samples]:
    try:
        import av  # noqa: PLC0415 - optional
    except ImportError:
        samples, rate_hz = read_wav(source, limits.max_duration_ms)
        resampler = Resampler(rate_hz, FILE_RATE_HZ)
        for at in range(0, len(samples), rate_hz):
            yield resampler.push(samples[at : at + rate_hz])
        yield resampler.flush()
        return
    # FFmpeg gets a stream, never a name, so that no file name can be taken for a protocol.
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        try:
            yield from _av_chunks(av, stream)
        except av.FFmpegError:
            raise AudioError("not a sound file that can be read") from None


def _av_chunks(av: Any, stream: BinaryIO) -> Iterator[Samples]:
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": ""}
    # From version 19 on, PyAV forgives metadata in unknown character sets without being asked, and cannot be.
    forgive = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    with closing(av.open(stream, mode="r", container_options=options, **forgive)) as container:
        if not container.streams.audio:
            raise AudioError("there is no audio in the file")
        resampler = av.AudioResampler(format="flt", layout="mono", rate=FILE_RATE_HZ)
        bad_count = 0
        for packet in container.demux(container.streams.audio[0]):
            try:
                for frame in packet.decode():
                    yield _joined(resampler.resample(frame))
            except av.InvalidDataError:
                bad_count += 1
                if bad_count > _BAD_PACKET_MAX_COUNT:
                    raise
            except ValueError:
                raise AudioError("the audio changes its format within the file") from None
        yield _joined(resampler.resample(None))


def _joined(frames: list[Any]) -> Samples:
    if not frames:
        return np.zeros(0, dtype=np.float32)
    samples: Samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
