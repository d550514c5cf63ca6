"""The voice activity detector's network, in the tensor shapes of Silero VAD version 5.

Called by ``voice_activity_train`` (whole clips) and its export (one window). A window is 512 samples and 64
that overlap the next, as sherpa-onnx cuts it: 576 samples every 512. A fixed Fourier convolution makes 5 spectra of 256
samples, those become 28 log bands each; two windows are joined, a GRU remembers, one sigmoid decides. The Silero
state (2, N, 128) holds the GRU state in its first row and the previous window's summary in its second.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.asr.features import SAMPLE_RATE_HZ

WINDOW_SAMPLES, SHIFT_SAMPLES = 576, 512
SPECTRUM_SAMPLES, SPECTRUM_HOP = 256, 80
SPECTRA = (WINDOW_SAMPLES - SPECTRUM_SAMPLES) // SPECTRUM_HOP + 1
BANDS = 28
STATE_WIDTH, SUMMARY, JOINED, MEMORY = 128, 96, 64, 96
FLOOR = 1e-9


def _fourier_kernels() -> Tensor:
    """Hann-windowed cosines and sines as convolution kernels, (2 x 129, 1, 256)."""
    positions = np.arange(SPECTRUM_SAMPLES)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * positions / SPECTRUM_SAMPLES)
    angles = 2 * np.pi * np.outer(np.arange(SPECTRUM_SAMPLES // 2 + 1), positions) / SPECTRUM_SAMPLES
    kernels = np.concatenate([np.cos(angles), np.sin(angles)]) * window
    return torch.tensor(kernels[:, None, :], dtype=torch.float32)


def _band_weights() -> Tensor:
    """Triangles on a mel-like scale from 90 Hz to 7.6 kHz, (129, 28)."""
    lowest, highest = np.log10(1 + 90.0 / 700), np.log10(1 + 7600.0 / 700)
    edges_hz = 700 * (10 ** np.linspace(lowest, highest, BANDS + 2) - 1)
    hertz = np.arange(SPECTRUM_SAMPLES // 2 + 1)[:, None] * SAMPLE_RATE_HZ / SPECTRUM_SAMPLES
    rising = (hertz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - hertz) / (edges_hz[2:] - edges_hz[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    nearest = np.abs(hertz - edges_hz[1:-1]).argmin(axis=0)
    triangles[nearest, np.arange(BANDS)] = np.maximum(triangles[nearest, np.arange(BANDS)], 0.5)
    return torch.tensor(triangles / triangles.sum(axis=0), dtype=torch.float32)


class Bands(nn.Module):
    """Samples (N, 576) -> log energies (N, 140): 5 spectra of 28 bands, earliest first."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", _fourier_kernels())
        self.register_buffer("weights", _band_weights())

    def forward(self, samples: Tensor) -> Tensor:
        waves = functional.conv1d(samples[:, None, :], self.kernels, stride=SPECTRUM_HOP)
        real, imaginary = waves.chunk(2, dim=1)
        power = (real * real + imaginary * imaginary).transpose(1, 2) @ self.weights
        return torch.log(power + FLOOR).flatten(1)


class Detector(nn.Module):
    """Log bands of successive windows to speech scores."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(SPECTRA * BANDS))
        self.register_buffer("deviation", torch.ones(SPECTRA * BANDS))
        self.summarise = nn.Linear(SPECTRA * BANDS, SUMMARY)
        self.join = nn.Linear(2 * SUMMARY, JOINED)
        self.memory = nn.GRU(JOINED, MEMORY, batch_first=True)
        self.decide = nn.Linear(MEMORY, 1)

    def forward(self, bands: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, 140) and the state (2, N, 128) -> scores before the sigmoid (N, T) and the next state."""
        summaries = torch.relu(self.summarise((bands - self.mean) / self.deviation))
        before = torch.cat([state[1, :, None, :SUMMARY], summaries[:, :-1]], dim=1)
        joined = torch.relu(self.join(torch.cat([before, summaries], dim=2)))
        remembered, last = self.memory(joined, state[:1, :, :MEMORY].contiguous())
        new_memory = functional.pad(last, (0, STATE_WIDTH - MEMORY))
        new_summary = functional.pad(summaries[:, -1], (0, STATE_WIDTH - SUMMARY))[None]
        return self.decide(remembered)[:, :, 0], torch.cat([new_memory, new_summary])


class SileroShaped(nn.Module):
    """Inputs ``input`` (N, 576), ``state`` (2, N, 128), ``sr`` (1); outputs ``output`` (N, 1), ``stateN``."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.bands, self.detector = Bands(), detector

    def forward(self, samples: Tensor, state: Tensor, sample_rate: Tensor) -> tuple[Tensor, Tensor]:
        # The rate is always 16000 here; it is multiplied away so that the graph keeps its third input.
        unused = (sample_rate * 0).to(samples.dtype).reshape(1, 1)
        scores, new_state = self.detector(self.bands(samples)[:, None, :], state)
        return torch.sigmoid(scores) + unused, new_state
