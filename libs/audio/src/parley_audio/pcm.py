"""Sample formats: bytes of the four raw encodings to float32 mono and back, and arithmetic in whole samples.

Used by asr (what clients send), tts (what clients asked for) and the client SDK. Inside Parley everything is
float32 mono in [-1, 1]; `resampling` changes rates, `codecs` reads compressed formats.
"""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Shape (sample_count,), mono, in [-1, 1]."""

RATE_MIN_HZ = 8_000
RATE_MAX_HZ = 48_000
_NS_PER_S = 1_000_000_000


class AudioError(ValueError):
    """Audio that cannot be what its sender says it is. The message is safe to show and quotes no audio."""


class Encoding(enum.Enum):
    """How audio is written down: four raw encodings; WAV, OGG_OPUS and MP3 only for one-way output."""

    PCM_S16LE = "pcm_s16le"
    PCM_F32LE = "pcm_f32le"
    MULAW = "mulaw"
    ALAW = "alaw"
    OPUS = "opus"
    WAV = "wav"
    OGG_OPUS = "ogg_opus"
    MP3 = "mp3"


_SAMPLE_BYTES = {Encoding.PCM_S16LE: 2, Encoding.PCM_F32LE: 4, Encoding.MULAW: 1, Encoding.ALAW: 1}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """An encoding, its sample rate (8000 to 48000 Hz), its channel count (1 or 2); AudioError beyond."""

    encoding: Encoding
    sample_rate_hz: int
    channel_count: int = 1

    def __post_init__(self) -> None:
        if not RATE_MIN_HZ <= self.sample_rate_hz <= RATE_MAX_HZ:
            raise AudioError(f"the sample rate must be {RATE_MIN_HZ} to {RATE_MAX_HZ} Hz")
        if self.channel_count not in (1, 2):
            raise AudioError("the channel count must be 1 or 2")

    @property
    def is_raw(self) -> bool:
        """Whether every sample has a place of its own in the bytes."""
        return self.encoding in _SAMPLE_BYTES

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels. AudioError for a compressed encoding."""
        if not self.is_raw:
            raise AudioError(f"{self.encoding.name} has no fixed sample size")
        return _SAMPLE_BYTES[self.encoding] * self.channel_count


def decode_pcm(data: bytes, audio_format: AudioFormat) -> Samples:
    """Raw bytes of whole samples to mono (the mean of the channels).

    AudioError when a sample is cut in two or a float is not a finite number. Floats beyond ±1 are clipped.
    """
    if len(data) % audio_format.frame_bytes:
        raise AudioError(f"{len(data)} bytes are not whole samples of {audio_format.frame_bytes} bytes")
    samples = _READERS[audio_format.encoding](data)
    if audio_format.channel_count == 1:
        return samples
    mono: Samples = samples.reshape(-1, audio_format.channel_count).mean(axis=1, dtype=np.float32)
    return mono


def encode_pcm(samples: Samples, audio_format: AudioFormat) -> bytes:
    """Mono to raw bytes, the same in every channel; clipped to ±1. Does not resample."""
    if audio_format.encoding not in _WRITERS:
        raise AudioError(f"{audio_format.encoding.name} is not a raw encoding")
    if audio_format.channel_count > 1:
        samples = np.repeat(samples, audio_format.channel_count)
    return _WRITERS[audio_format.encoding](samples)


def duration_ns(sample_count: int, sample_rate_hz: int) -> int:
    """How long `sample_count` samples last, in whole nanoseconds rounded down."""
    return sample_count * _NS_PER_S // sample_rate_hz


def sample_count(duration_in_ns: int, sample_rate_hz: int) -> int:
    """The nearest number of samples; `sample_count(duration_ns(n, rate), rate) == n` for every n."""
    return (2 * duration_in_ns * sample_rate_hz + _NS_PER_S) // (2 * _NS_PER_S)


def silence(count: int, chunk_sample_count: int = 1600) -> Iterator[Samples]:
    """`count` zero samples in chunks of at most `chunk_sample_count`, so that a long gap takes no memory."""
    for start in range(0, count, chunk_sample_count):
        yield np.zeros(min(chunk_sample_count, count - start), dtype=np.float32)


def _read_s16(data: bytes) -> Samples:
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(32768)


def _read_f32(data: bytes) -> Samples:
    samples = np.frombuffer(data, dtype="<f4").astype(np.float32)
    if not np.isfinite(samples).all():
        raise AudioError("a float sample is not a finite number")
    return np.clip(samples, -1.0, 1.0)


def _to_s16(samples: Samples) -> npt.NDArray[np.int16]:
    rounded: npt.NDArray[np.float32] = np.rint(samples * np.float32(32768))
    return np.clip(rounded, -32768, 32767).astype(np.int16)


def _write_s16(samples: Samples) -> bytes:
    return _to_s16(samples).astype("<i2").tobytes()


def _write_f32(samples: Samples) -> bytes:
    return np.clip(samples, -1.0, 1.0).astype("<f4").tobytes()


# ITU-T Recommendation G.711 (11/88), tables 1 and 2, as 16-bit values: segments double in step size, the sign
# is the top bit, and the bits go over the line inverted (all of them in µ-law, every other one in A-law).


def _mulaw_values() -> npt.NDArray[np.int32]:
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 132) << ((code >> 4) & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int32)


def _alaw_values() -> npt.NDArray[np.int32]:
    code = np.arange(256) ^ 0x55
    segment = (code >> 4) & 7
    step = (code & 0x0F) << 4
    magnitude = np.where(segment == 0, step + 8, (step + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int32)


def _mulaw_codes() -> npt.NDArray[np.uint8]:
    value = np.arange(-32768, 32768)
    magnitude = np.minimum(np.where(value < 0, ~value, value), 32635) + 132
    segment = _bit_length(magnitude) - 8
    code: npt.NDArray[np.int64] = (
        np.where(value < 0, 0x80, 0) | (segment << 4) | ((magnitude >> (segment + 3)) & 0x0F)
    )
    return (~code & 0xFF).astype(np.uint8)


def _alaw_codes() -> npt.NDArray[np.uint8]:
    value = np.arange(-32768, 32768)
    magnitude = np.where(value < 0, ~value, value)
    segment = np.maximum(_bit_length(magnitude) - 8, 0)
    mantissa = (magnitude >> np.maximum(segment + 3, 4)) & 0x0F
    code: npt.NDArray[np.int64] = np.where(value < 0, 0, 0x80) | (segment << 4) | mantissa
    return (code ^ 0x55).astype(np.uint8)


def _bit_length(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    return np.frexp(values)[1]


_MULAW_SAMPLES = (_mulaw_values() / 32768).astype(np.float32)
_ALAW_SAMPLES = (_alaw_values() / 32768).astype(np.float32)
_MULAW_CODES = _mulaw_codes()
_ALAW_CODES = _alaw_codes()

_READERS: dict[Encoding, Callable[[bytes], Samples]] = {
    Encoding.PCM_S16LE: _read_s16,
    Encoding.PCM_F32LE: _read_f32,
    Encoding.MULAW: lambda data: _MULAW_SAMPLES[np.frombuffer(data, dtype=np.uint8)],
    Encoding.ALAW: lambda data: _ALAW_SAMPLES[np.frombuffer(data, dtype=np.uint8)],
}
_WRITERS: dict[Encoding, Callable[[Samples], bytes]] = {
    Encoding.PCM_S16LE: _write_s16,
    Encoding.PCM_F32LE: _write_f32,
    Encoding.MULAW: lambda samples: _MULAW_CODES[_to_s16(samples).astype(np.int32) + 32768].tobytes(),
    Encoding.ALAW: lambda samples: _ALAW_CODES[_to_s16(samples).astype(np.int32) + 32768].tobytes(),
}
