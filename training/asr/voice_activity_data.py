"""Clips for the voice activity detector: speech at known times in rooms and noise, and noise without speech.

Called by ``voice_activity_train`` and ``voice_activity_evaluate``. Labels come from the clean signal's energy,
one for each 512-sample window.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from training.asr import acoustics, noises, sentences, voices
from training.asr.features import SAMPLE_RATE_HZ
from training.asr.voice_activity_network import SHIFT_SAMPLES

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
CLIP_SECONDS = 10
SPEECH_BELOW_PEAK_DB = 36.0
JOINED_GAP_WINDOWS = 6
Who = Callable[[random.Random], voices.Speaker]


def speech_windows(clean: Floats) -> Bools:
    """True for windows with speech energy; gaps of less than 0.2 s inside speech count as speech."""
    windows = clean[: len(clean) // SHIFT_SAMPLES * SHIFT_SAMPLES].reshape(-1, SHIFT_SAMPLES)
    energy = (windows**2).mean(axis=1)
    active: Bools = energy > energy.max(initial=0.0) * 10 ** (-SPEECH_BELOW_PEAK_DB / 10) + 1e-12
    positions = np.flatnonzero(active)
    for first, second in itertools.pairwise(positions):
        if second - first <= JOINED_GAP_WINDOWS:
            active[first:second] = True
    return active


def clean_timeline(rng: random.Random, who: Who, seconds: int = CLIP_SECONDS) -> Floats:
    """Sentences of one speaker with pauses of 0.4 to 3 s."""
    track = np.zeros(seconds * SAMPLE_RATE_HZ, np.float32)
    position = round(rng.uniform(0.2, 2.5) * SAMPLE_RATE_HZ)
    speaker = who(rng)
    while position < len(track) - SAMPLE_RATE_HZ // 2:
        said = voices.say(sentences.training_sentence(rng), speaker) * np.float32(rng.uniform(0.5, 1.0))
        part = said[: len(track) - position]
        track[position : position + len(part)] = part
        position += len(part) + round(rng.uniform(0.4, 3.0) * SAMPLE_RATE_HZ)
    return track


def clip(rng: random.Random, who: Who, lowest_ratio_db: float = 4.0) -> tuple[Floats, Bools]:
    """One clip and its labels: 72 % with speech, the rest noise or silence only; -48 to -2 dBFS."""
    generator = np.random.default_rng(rng.getrandbits(32))
    if rng.random() < 0.28:
        count = CLIP_SECONDS * SAMPLE_RATE_HZ
        noise = noises.any_noise(count, generator) if rng.random() < 0.95 else np.zeros(count, np.float32)
        noise[: rng.randrange(count)] *= np.float32(rng.choice([1.0, 1.0, 0.0, 0.1]))
        return acoustics.at_level(noise, rng.uniform(-80, -2)), np.zeros(count // SHIFT_SAMPLES, np.bool_)
    clean = clean_timeline(rng, who)
    labels = speech_windows(clean)
    samples = acoustics.shape_spectrum(clean, generator) if rng.random() < 0.5 else clean
    if rng.random() < 0.35:
        samples = acoustics.in_room(samples, generator)[: len(clean)]
    if rng.random() < 0.8:
        samples = acoustics.with_noise(samples, generator, lowest_ratio_db, 40.0)
    return acoustics.at_level(samples, rng.uniform(-48.0, -2.0)), labels
