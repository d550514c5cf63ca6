"""The 80 log-mel features that sherpa-onnx 2.0.1 computes for streaming NeMo CTC models, in numpy.

Called by the data generator (training must see exactly what the runtime will feed the network) and compared
with the runtime itself by ``tests/quality/test_recognition_model.py`` through a probe model.

Settings of that path: samples in [-1, 1], 25 ms periodic Hann window every 10 ms, no cut edges (mirrored), DC kept,
pre-emphasis 0.97, 512-point power spectrum, 80 Slaney mel bands from 0 Hz to 8 kHz, natural logarithm, no dither.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
BAND_COUNT = 80
WINDOW_SAMPLES = 400
SHIFT_SAMPLES = 160
FFT_SIZE = 512
PRE_EMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)

Floats = npt.NDArray[np.float32]


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Slaney's scale: linear below 1 kHz (15 mel), logarithmic above."""
    linear = mel * (200.0 / 3.0)
    logarithmic = 1000.0 * np.exp((mel - 15.0) * (np.log(6.4) / 27.0))
    return np.where(mel < 15.0, linear, logarithmic)


@functools.cache
def mel_filters() -> Floats:
    """Triangular filters of equal area, shape (257, 80)."""
    top_mel = 15.0 + np.log(8000.0 / 1000.0) * 27.0 / np.log(6.4)
    edges = _mel_to_hz(np.linspace(0.0, top_mel, BAND_COUNT + 2))
    hertz = np.arange(FFT_SIZE // 2 + 1) * (SAMPLE_RATE_HZ / FFT_SIZE)
    rising = (hertz[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - hertz[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))).astype(np.float32)


@functools.cache
def _window() -> Floats:
    positions = np.arange(WINDOW_SAMPLES)
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * positions / WINDOW_SAMPLES)).astype(np.float32)


def log_mel(samples: Floats) -> Floats:
    """Features of a whole clip: float32 samples in [-1, 1] at 16 kHz -> (frame count, 80)."""
    frame_count = (len(samples) + SHIFT_SAMPLES // 2) // SHIFT_SAMPLES
    left = WINDOW_SAMPLES // 2 - SHIFT_SAMPLES // 2
    padded = np.pad(samples, (left, WINDOW_SAMPLES), mode="symmetric")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::SHIFT_SAMPLES][:frame_count]
    emphasised = np.empty_like(frames)
    emphasised[:, 1:] = frames[:, 1:] - PRE_EMPHASIS * frames[:, :-1]
    emphasised[:, 0] = frames[:, 0] * (1.0 - PRE_EMPHASIS)
    spectrum = np.fft.rfft(emphasised * _window(), FFT_SIZE)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    result: Floats = np.log(np.maximum(power @ mel_filters(), FLOOR))
    return result
