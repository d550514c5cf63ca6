"""`WaveStream`: bytes of a streamed 16-bit mono WAV to samples. Pure. Called by `gpt_sovits`.

The sizes in a streamed header are zero or wrong and are not believed; pieces of a stream are not aligned to
samples.
"""

import struct

import numpy as np

from parley_tts.ports import Samples

_HEADER_MAX_BYTES = 4096
_PCM = 1


class WaveStreamError(ValueError):
    """Not a 16-bit mono PCM WAV at the expected rate."""


class WaveStream:
    """Feed it bytes in any pieces. `sample_count`: samples given out so far."""

    def __init__(self, sample_rate_hz: int) -> None:
        """sample_rate_hz: the rate that the header has to tell."""
        self._expected_hz = sample_rate_hz
        self._bytes = b""
        self._is_in_audio = False
        self.sample_count = 0

    @property
    def has_begun(self) -> bool:
        """Whether the header was whole and as expected."""
        return self._is_in_audio

    def push(self, data: bytes) -> Samples:
        """The samples that are whole now, float32 in [-1, 1]. Raises WaveStreamError."""
        self._bytes += data
        if not self._is_in_audio and not self._read_header():
            return np.zeros(0, dtype=np.float32)
        whole = len(self._bytes) & ~1
        samples = np.frombuffer(self._bytes[:whole], dtype="<i2").astype(np.float32) / np.float32(32768)
        self._bytes = self._bytes[whole:]
        self.sample_count += len(samples)
        return samples

    def _read_header(self) -> bool:
        """Whether the audio begins now."""
        head = self._bytes
        if head[:4] != b"RIFF"[: len(head)] or head[8:12] != b"WAVE"[: max(0, len(head) - 8)]:
            raise WaveStreamError("not a WAV stream")
        place = 12
        while len(head) >= place + 8:
            name, size = struct.unpack_from("<4sI", head, place)
            place += 8
            if name == b"data":
                self._bytes = head[place:]
                self._is_in_audio = True
                return True
            if name == b"fmt " and len(head) >= place + 16:
                self._check_format(head, place)
            place += size + size % 2
            if place > _HEADER_MAX_BYTES:
                raise WaveStreamError("no audio in the WAV stream")
        return False

    def _check_format(self, head: bytes, place: int) -> None:
        kind, channel_count, rate_hz, _, _, bit_count = struct.unpack_from("<HHIIHH", head, place)
        if (kind, channel_count, bit_count) != (_PCM, 1, 16):
            raise WaveStreamError("not 16-bit mono PCM")
        if rate_hz != self._expected_hz:
            raise WaveStreamError(f"{rate_hz} Hz where {self._expected_hz} Hz is expected")
