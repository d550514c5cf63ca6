"""Sound files that people name: read whole, and checked before anything is written. Used by `talk` and `say`."""

import os
from pathlib import Path

import numpy as np

from parley_audio.pcm import AudioError, Samples
from parley_audio.resampling import Resampler
from parley_audio.wav import read_wav


def read_samples(source: Path, sample_rate_hz: int) -> Samples:
    """Mono samples at the wanted rate. AudioError naming the file, OSError."""
    try:
        samples, rate_hz = read_wav(source)
        resampler = Resampler(rate_hz, sample_rate_hz)
    except AudioError as error:
        raise AudioError(f"{source}: {error}") from None
    if not len(samples):
        raise AudioError(f"{source}: there is no sound in it")
    return np.concatenate([resampler.push(samples), resampler.flush()])


def check_writable(target: Path) -> None:
    """OSError when a file cannot be written there, before minutes of work are lost. Changes nothing."""
    if target.is_dir():
        raise IsADirectoryError(21, os.strerror(21), str(target))
    probed = target if target.exists() else target.parent
    if not probed.exists():
        raise FileNotFoundError(2, "no such folder", str(probed))
    if probed != target and not probed.is_dir():
        raise NotADirectoryError(20, os.strerror(20), str(probed))
    if not os.access(probed, os.W_OK):
        raise PermissionError(13, os.strerror(13), str(target))
