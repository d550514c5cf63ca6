"""Streaming change of sample rate, lagging by 32 samples of the lower rate. Used by asr, tts and clients.

libsoxr's streaming mode holds back up to 40 ms (48 to 16 kHz) or 115 ms (8 to 16 kHz), which is heard in a
live conversation. So rates in a small ratio, all usual ones, go through a windowed-sinc filter of our own;
odd ratios, whose filter table would be large, go through libsoxr.
"""

import functools
import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
import soxr

from parley_audio.pcm import AudioError, Samples

# 8, 11.025, 12, 16, 22.05, 24, 32, 44.1 and 48 kHz to each other need at most this many filter phases.
_PHASES_MAX_COUNT = 1280
_RATE_MIN_HZ = 4_000
_RATE_MAX_HZ = 192_000
# The filter spans this many samples of the lower rate to each side: its length is the lag.
_HALF_WIDTH = 32
_STRIDED_PHASES_MAX_COUNT = 8
# Stop band 80 dB down (A. Oppenheim and R. Schafer, Discrete-Time Signal Processing, 7.5.3).
_KAISER_BETA = 8.0
_CUTOFF = 0.92  # of the lower Nyquist frequency: the transition ends at 1.0
_BLOCK_SAMPLE_COUNT = 8192
_EMPTY = np.zeros(0, dtype=np.float32)


class Resampler:
    """Mono float32 from `from_hz` to `to_hz`, fed in pieces of any size; how it is cut changes nothing.

    n samples in give ceil(n · to_hz / from_hz) out, counting `flush` (libsoxr: within one of that).
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        """AudioError for a rate outside 4000 to 192000 Hz (files have more rates than the wire)."""
        for rate_hz in (from_hz, to_hz):
            if not _RATE_MIN_HZ <= rate_hz <= _RATE_MAX_HZ:
                raise AudioError(f"the sample rate must be {_RATE_MIN_HZ} to {_RATE_MAX_HZ} Hz")
        self._converter = _converter(from_hz, to_hz)
        self._is_flushed = False

    def push(self, samples: Samples) -> Samples:
        """What can be told so far; may be empty. ValueError after `flush`."""
        if self._is_flushed:
            raise ValueError("the resampler is flushed")
        if len(samples) <= _BLOCK_SAMPLE_COUNT:
            return self._converter.push(samples)
        starts = range(0, len(samples), _BLOCK_SAMPLE_COUNT)
        return np.concatenate([self._converter.push(samples[at : at + _BLOCK_SAMPLE_COUNT]) for at in starts])

    def flush(self) -> Samples:
        """The rest, as if silence followed. Nothing can be pushed afterwards."""
        if self._is_flushed:
            return _EMPTY
        self._is_flushed = True
        return self._converter.flush()


class _Converter(Protocol):
    def push(self, samples: Samples) -> Samples: ...
    def flush(self) -> Samples: ...


def _converter(from_hz: int, to_hz: int) -> _Converter:
    if from_hz == to_hz:
        return _Same()
    divisor = math.gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    return _Polyphase(up, down) if up <= _PHASES_MAX_COUNT else _Soxr(from_hz, to_hz)


class _Same:
    def push(self, samples: Samples) -> Samples:
        return samples

    def flush(self) -> Samples:
        return _EMPTY


class _Soxr:
    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def push(self, samples: Samples) -> Samples:
        resampled: Samples = self._stream.resample_chunk(samples)
        return resampled

    def flush(self) -> Samples:
        resampled: Samples = self._stream.resample_chunk(_EMPTY, last=True)
        return resampled


class _Polyphase:
    """Output k lies at input position k · down / up; each of the `up` fractions has a filter of its own."""

    def __init__(self, up: int, down: int) -> None:
        self._up, self._down = up, down
        self._filters = _filters(up, down)
        self._width = self._filters.shape[1]
        self._pending = np.zeros(self._width // 2 - 1, dtype=np.float32)
        # Where the window of the next output begins, in 1/up of an input sample from the start of `_pending`.
        self._position = 0
        self._pushed_count = 0
        self._given_count = 0

    def push(self, samples: Samples) -> Samples:
        self._pushed_count += len(samples)
        return self._advance(samples)

    def flush(self) -> Samples:
        remaining = -(-self._pushed_count * self._up // self._down) - self._given_count
        return self._advance(np.zeros(self._width // 2, dtype=np.float32))[:remaining]

    def _advance(self, samples: Samples) -> Samples:
        signal = np.concatenate((self._pending, samples))
        reachable = (len(signal) - self._width + 1) * self._up - self._position
        if reachable <= 0:
            self._pending = signal
            return _EMPTY
        count = -(-reachable // self._down)
        resampled = self._filtered(np.lib.stride_tricks.sliding_window_view(signal, self._width), count)
        self._position += count * self._down
        used = min(self._position // self._up, len(signal))
        self._position -= used * self._up
        self._pending = signal[used:]
        self._given_count += count
        return resampled

    def _filtered(self, windows: Samples, count: int) -> Samples:
        """The next `count` outputs; `windows` has shape (starts, width)."""
        if self._up > _STRIDED_PHASES_MAX_COUNT:
            starts, phases = np.divmod(self._position + np.arange(count) * self._down, self._up)
            gathered: Samples = np.vecdot(windows[starts], self._filters[phases])
            return gathered
        # Every up-th output has the same filter, on windows `down` apart: no copies, several times faster.
        resampled = np.empty(count, dtype=np.float32)
        for first in range(min(self._up, count)):
            start, phase = divmod(self._position + first * self._down, self._up)
            places = resampled[first :: self._up]
            places[:] = np.vecdot(windows[start :: self._down][: len(places)], self._filters[phase])
        return resampled


@functools.lru_cache(maxsize=32)
def _filters(up: int, down: int) -> npt.NDArray[np.float32]:
    """Shape (up, width): the filter of each phase, scaled to pass a constant signal unchanged."""
    stretch = max(1.0, down / up)  # of the filter, when the output rate is the lower one
    half_width = math.ceil(_HALF_WIDTH * stretch)
    offsets = np.arange(2 * half_width) - (half_width - 1) - np.arange(up)[:, np.newaxis] / up
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (offsets / half_width) ** 2, 0, 1)))
    filters = np.sinc(offsets * _CUTOFF / stretch) * window
    scaled: npt.NDArray[np.float64] = filters / filters.sum(axis=1, keepdims=True)
    return scaled.astype(np.float32)
