"""What a room, a microphone and a line do to a voice.

Called by the data generator and the voice-activity data. All functions take and return mono float32 at 16 kHz.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

from training.asr import noises
from training.asr.features import SAMPLE_RATE_HZ

Floats = npt.NDArray[np.float32]
Generator = np.random.Generator


def shape_spectrum(samples: Floats, rng: Generator) -> Floats:
    """Tilt of up to 6 dB an octave, a resonance, and sometimes a telephone-like band limit."""
    length = scipy.fft.next_fast_len(len(samples), real=True)
    spectrum = scipy.fft.rfft(samples, length)
    hertz = np.maximum(np.linspace(0, SAMPLE_RATE_HZ / 2, len(spectrum)), 50.0)
    octaves = np.log2(hertz / 1000.0)
    decibels = rng.uniform(-5.0, 4.0) * octaves
    decibels += rng.uniform(-8.0, 8.0) * np.exp(
        -0.5 * ((octaves - rng.uniform(-2.5, 2.5)) / rng.uniform(0.3, 1.2)) ** 2
    )
    if rng.random() < 0.2:
        low_hz, high_hz = rng.uniform(100.0, 400.0), rng.uniform(3000.0, 6000.0)
        decibels -= 18.0 * np.maximum(0.0, np.log2(low_hz / hertz)) + 40.0 * np.maximum(
            0.0, np.log2(hertz / high_hz)
        )
    gains = 10.0 ** (np.maximum(decibels, -80.0) / 20.0)
    shaped = scipy.fft.irfft(spectrum * gains, length)[: len(samples)]
    return _same_peak(shaped, samples)


def in_room(samples: Floats, rng: Generator) -> Floats:
    """Early reflections and a decaying diffuse tail, reverberation time 0.1 to 0.6 s."""
    seconds = rng.uniform(0.1, 0.6)
    length = int(seconds * SAMPLE_RATE_HZ)
    times = np.arange(length) / SAMPLE_RATE_HZ
    response = rng.standard_normal(length) * 10.0 ** (-3.0 * times / seconds) * rng.uniform(0.01, 0.07)
    response[: SAMPLE_RATE_HZ // 500] = 0.0
    for delay in rng.integers(16, 640, 6):
        if delay < length:
            response[delay] += rng.uniform(-0.4, 0.4)
    response[0] = 1.0
    return _same_peak(scipy.signal.fftconvolve(samples, response)[: len(samples) + length // 3], samples)


def with_noise(samples: Floats, rng: Generator, low_db: float = 5.0, high_db: float = 40.0) -> Floats:
    """Noise under the voice, its level relative to the voice's own RMS over its sounding parts."""
    noise = noises.any_noise(len(samples), rng)
    loud = samples[np.abs(samples) > 0.02 * np.abs(samples).max()]
    voice_rms = float(np.sqrt(np.mean(loud**2)))
    noise_rms = float(np.sqrt(np.mean(noise**2))) + 1e-9
    ratio_db = rng.uniform(low_db, high_db)
    return samples + noise * np.float32(voice_rms / noise_rms * 10.0 ** (-ratio_db / 20.0))


def at_level(samples: Floats, peak_dbfs: float) -> Floats:
    """Scale to a peak level and quantise to 16 bits, as a sound card delivers it."""
    peak = max(float(np.abs(samples).max(initial=0.0)), 1e-9)
    scaled = samples * np.float32(10.0 ** (peak_dbfs / 20.0) / peak)
    return (np.clip(np.round(scaled * 32768.0), -32768, 32767) / 32768.0).astype(np.float32)


def _same_peak(changed: npt.NDArray[np.floating], original: Floats) -> Floats:
    ratio = float(np.abs(original).max()) / max(float(np.abs(changed).max()), 1e-9)
    return (changed * ratio).astype(np.float32)
