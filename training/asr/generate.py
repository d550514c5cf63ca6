"""Makes the training set: ``python -m training.asr.generate FOLDER --shards 0:40 --seed 1``.

Each shard holds 1,000 utterances as features (float16) with their texts; shard number and seed decide everything in
it. Training reads whatever shards are there, so several processes may make different ranges at once.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.asr import acoustics, noises, sentences, voices
from training.asr.features import SAMPLE_RATE_HZ, log_mel

UTTERANCES_PER_SHARD = 1_000
LONGEST_SECONDS = 14.0
Floats = npt.NDArray[np.float32]
Generator = np.random.Generator


def speech(rng: random.Random) -> tuple[Floats, str]:
    """Clean speech of one or two sentences by one speaker, and its text."""
    speaker = voices.training_speaker(rng)
    texts = [sentences.training_sentence(rng) for _ in range(rng.choice([1] * 8 + [2]))]
    parts: list[Floats] = []
    for text in texts:
        parts += [silence(rng.uniform(0.3, 1.2)), voices.say(text, speaker)]
    return np.concatenate(parts[1:]), " ".join(texts)


def silence(seconds: float) -> Floats:
    """Digital silence."""
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)


def level_dbfs(generator: Generator) -> float:
    """Peak level of a clip: mostly -30 to -2 dBFS, one in seven down to -45."""
    return float(
        generator.uniform(-45.0, -30.0) if generator.random() < 0.14 else generator.uniform(-30.0, -2.0)
    )


def spoiled(clean: Floats, rng: random.Random, generator: Generator) -> Floats:
    """Speech with silence around it, through a room, a microphone, noise and a level."""
    samples = np.concatenate([silence(rng.uniform(0.05, 0.9)), clean, silence(rng.uniform(0.3, 1.0))])
    if generator.random() < 0.6:
        samples = acoustics.shape_spectrum(samples, generator)
    if generator.random() < 0.35:
        samples = acoustics.in_room(samples, generator)
    if generator.random() < 0.6:
        samples = acoustics.with_noise(samples, generator)
    return acoustics.at_level(samples, level_dbfs(generator))


def not_speech(generator: Generator) -> Floats:
    """A clip whose right transcript is empty: noise of any kind, or silence."""
    count = int(generator.uniform(1.0, 6.0) * SAMPLE_RATE_HZ)
    if generator.random() < 0.1:
        return np.zeros(count, np.float32)
    samples = noises.any_noise(count, generator)
    peak_dbfs = float(generator.uniform(-75.0, -45.0) if generator.random() < 0.3 else level_dbfs(generator))
    return acoustics.at_level(samples, peak_dbfs)


def utterance(rng: random.Random, generator: Generator) -> tuple[Floats, str]:
    """Samples and text of one training clip; the text is empty for one clip in 14."""
    if generator.random() < 0.07:
        return not_speech(generator), ""
    while True:
        clean, text = speech(rng)
        if len(clean) < LONGEST_SECONDS * SAMPLE_RATE_HZ:
            return spoiled(clean, rng, generator), text


def write_shard(folder: Path, shard: int, seed: int) -> None:
    """One file ``shard-NNNN.npz``; written under another name first, so that readers never see half of it."""
    path = folder / f"shard-{shard:04d}.npz"
    if path.exists():
        return
    rng, generator = random.Random(f"{seed}-{shard}"), np.random.default_rng([seed, shard])
    clips = [utterance(rng, generator) for _ in range(UTTERANCES_PER_SHARD)]
    features = [log_mel(samples).astype(np.float16) for samples, _ in clips]
    partial = folder / f"partial-{shard:04d}.npz"
    np.savez(
        partial,
        features=np.concatenate(features),
        lengths=np.array([len(frames) for frames in features]),
        texts=json.dumps([text for _, text in clips]),
    )
    partial.rename(path)
    print(f"shard {shard}: {sum(map(len, features)) / 360_000:.2f} h", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", default="0:40", help="first:last+1[:step]")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for shard in range(*map(int, options.shards.split(":"))):
        write_shard(options.folder, shard, options.seed)


if __name__ == "__main__":
    main()
