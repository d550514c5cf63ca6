"""Sounds that are not speech, made in code: hiss, hum, clicks, beeps, chords, breath, fans.

Called by the data generator (mixing, and clips whose right transcript is empty), the voice-activity data and the
tests. Every function returns mono float32 at 16 kHz with a peak of about 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.fft

from training.asr.features import SAMPLE_RATE_HZ

Floats = npt.NDArray[np.float32]
Generator = np.random.Generator


def _peaked(samples: npt.NDArray[np.floating]) -> Floats:
    return (samples / max(float(np.abs(samples).max(initial=0.0)), 1e-9)).astype(np.float32)


def coloured(count: int, rng: Generator, exponent: float | None = None) -> Floats:
    """White (0), pink (1) or brown (2) noise; the exponent is that of the falling power spectrum."""
    slope = rng.uniform(0.0, 2.2) if exponent is None else exponent
    length = scipy.fft.next_fast_len(count, real=True)
    spectrum = scipy.fft.rfft(rng.standard_normal(length, np.float32))
    bins = np.arange(len(spectrum))
    shape = np.maximum(bins, 1 + len(bins) // 400) ** (-slope / 2)
    return _peaked(scipy.fft.irfft(spectrum * shape, length)[:count])


def banded(count: int, rng: Generator) -> Floats:
    """Noise within one band: a fan, a hiss, a distant road."""
    length = scipy.fft.next_fast_len(count, real=True)
    spectrum = scipy.fft.rfft(rng.standard_normal(length, np.float32))
    hertz = np.linspace(0, SAMPLE_RATE_HZ / 2, len(spectrum))
    centre, width = 10 ** rng.uniform(2.0, 3.8), rng.uniform(0.2, 1.5)
    shape = np.exp(-0.5 * (np.log2(np.maximum(hertz, 20.0) / centre) / width) ** 2)
    return _peaked(scipy.fft.irfft(spectrum * shape, length)[:count])


def hum(count: int, rng: Generator) -> Floats:
    """Mains hum with harmonics."""
    seconds = np.arange(count) / SAMPLE_RATE_HZ
    base_hz = rng.choice([50.0, 60.0, rng.uniform(80.0, 400.0)])
    waves = sum(
        rng.uniform(0, 1) / order * np.sin(2 * np.pi * base_hz * order * seconds + rng.uniform(0, 6))
        for order in range(1, int(rng.integers(2, 12)))
    )
    return _peaked(np.asarray(waves))


def _events(count: int, rng: Generator, rate_hz: float, make: Callable[[], Floats]) -> Floats:
    track = np.zeros(count, np.float32)
    for start in rng.integers(
        0, count, max(1, round(rng.uniform(0.3, 1.0) * rate_hz * count / SAMPLE_RATE_HZ))
    ):
        event = make()[: count - start]
        track[start : start + len(event)] += event * np.float32(rng.uniform(0.2, 1.0))
    return _peaked(track)


def clicks(count: int, rng: Generator) -> Floats:
    """Keyboard-like clicks and knocks: short decaying resonances."""

    def click() -> Floats:
        length = int(rng.integers(80, 2400))
        times = np.arange(length) / SAMPLE_RATE_HZ
        ringing = np.sin(2 * np.pi * 10 ** rng.uniform(2.0, 3.7) * times) + 0.5 * rng.standard_normal(length)
        return (ringing * np.exp(-times * SAMPLE_RATE_HZ * rng.uniform(3.0, 9.0) / length)).astype(np.float32)

    return _events(count, rng, float(rng.uniform(1.0, 8.0)), click)


def chords(count: int, rng: Generator) -> Floats:
    """Music-like: notes of several harmonics with attack and decay, melody or chords."""

    def note() -> Floats:
        length = int(rng.uniform(0.1, 1.2) * SAMPLE_RATE_HZ)
        times = np.arange(length) / SAMPLE_RATE_HZ
        tones = np.zeros(length)
        for _ in range(int(rng.integers(1, 5))):
            pitch_hz = 110.0 * 2.0 ** (rng.integers(-12, 36) / 12.0)
            for order in range(1, int(rng.integers(2, 9))):
                tones += rng.uniform(0, 1) / order * np.sin(2 * np.pi * pitch_hz * order * times)
        envelope = np.minimum(times / rng.uniform(0.005, 0.1), 1.0) * np.exp(-times * rng.uniform(0.5, 6.0))
        played: Floats = (tones * envelope).astype(np.float32)
        return played

    return _events(count, rng, float(rng.uniform(1.0, 5.0)), note)


def beeps(count: int, rng: Generator) -> Floats:
    """Pure tones that start and stop, or sweep."""

    def beep() -> Floats:
        length = int(rng.uniform(0.05, 0.8) * SAMPLE_RATE_HZ)
        start_hz, stop_hz = 10 ** rng.uniform(2.2, 3.7), 10 ** rng.uniform(2.2, 3.7)
        hertz = np.linspace(start_hz, stop_hz if rng.random() < 0.4 else start_hz, length)
        fade = np.minimum(1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / 80.0)
        return (np.sin(2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE_HZ) * fade).astype(np.float32)

    return _events(count, rng, float(rng.uniform(0.5, 3.0)), beep)


def breath(count: int, rng: Generator) -> Floats:
    """Breathing and rustling: swelling band noise."""
    seconds = np.arange(count) / SAMPLE_RATE_HZ
    swell = np.maximum(0.0, np.sin(2 * np.pi * rng.uniform(0.15, 1.5) * seconds + rng.uniform(0, 6)))
    return _peaked(banded(count, rng) * swell ** rng.uniform(0.5, 3.0))


KINDS: dict[str, Callable[[int, Generator], Floats]] = {
    "coloured": coloured,
    "banded": banded,
    "hum": hum,
    "clicks": clicks,
    "chords": chords,
    "beeps": beeps,
    "breath": breath,
}


def any_noise(count: int, rng: Generator) -> Floats:
    """One kind, or two laid over each other; plain hiss most often."""
    names = list(KINDS)
    shares = np.array([0.3, 0.15, 0.12, 0.12, 0.13, 0.06, 0.12])
    first = KINDS[rng.choice(names, p=shares)](count, rng)
    if rng.random() < 0.7:
        return first
    return _peaked(first + np.float32(rng.uniform(0.1, 1.0)) * KINDS[rng.choice(names, p=shares)](count, rng))
