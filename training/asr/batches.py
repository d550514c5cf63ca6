"""Training batches: shards of features, sorted by length, changed a little each time they are drawn.

Called by ``train``. Changes happen on the log-mel features because that is cheap: gain, tilt, a shifted mel scale,
added noise (powers add), and masked bands and moments.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.asr.features import BAND_COUNT, FLOOR

Floats = npt.NDArray[np.float32]
SILENCE = float(np.log(FLOOR))
FRAMES_PER_BATCH = 5_000
BUCKET_FRAMES = 64
Clip = tuple[npt.NDArray[np.float16], str]


class Shards:
    """All clips made so far; ``refresh`` picks up shards that appeared since."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[Path] = set()
        self.clips: list[Clip] = []
        self.noises: list[npt.NDArray[np.float16]] = []
        self.refresh()

    def refresh(self) -> None:
        """Read new shards."""
        for path in sorted(set(self._folder.glob("shard-*.npz")) - self._seen):
            self._seen.add(path)
            with np.load(path) as shard:
                ends = np.cumsum(shard["lengths"])
                parts = np.split(shard["features"], ends[:-1])
                texts = json.loads(str(shard["texts"]))
            self.clips += list(zip(parts, texts, strict=True))
            self.noises += [
                part for part, text in zip(parts, texts, strict=True) if not text and len(part) > 100
            ]

    def statistics(self) -> tuple[Floats, Floats]:
        """Mean and deviation of every band over 2,000 clips."""
        sample = np.concatenate([features for features, text in self.clips[:2_000] if text]).astype(
            np.float32
        )
        return sample.mean(axis=0), sample.std(axis=0)

    def batches(self, generator: np.random.Generator) -> Iterator[list[Clip]]:
        """One pass in random order, about 50 s a batch, few shapes; a bucket's incomplete last batch is left out."""
        buckets: dict[int, list[int]] = defaultdict(list)
        for index in generator.permutation(len(self.clips)):
            buckets[bucket_frames(len(self.clips[index][0]))].append(index)
        groups: list[list[int]] = []
        for frames, members in buckets.items():
            size = max(1, FRAMES_PER_BATCH // frames)
            groups += [members[start : start + size] for start in range(0, len(members) - size + 1, size)]
        for chosen in generator.permutation(len(groups)):
            yield [self.clips[index] for index in groups[chosen]]


def bucket_frames(frame_count: int) -> int:
    """Length to which a clip is padded: shapes that repeat let oneDNN reuse its compiled kernels."""
    return -(-frame_count // BUCKET_FRAMES) * BUCKET_FRAMES


def changed(
    features: npt.NDArray[np.float16], noises: list[npt.NDArray[np.float16]], generator: np.random.Generator
) -> Floats:
    """A variation of one clip's features (frames, 80), before normalisation."""
    result = features.astype(np.float32)
    if generator.random() < 0.2:
        positions = np.clip(np.arange(BAND_COUNT) * generator.uniform(0.9, 1.1), 0, BAND_COUNT - 1.001)
        below = positions.astype(int)
        share = (positions - below).astype(np.float32)
        result = result[:, below] * (1 - share) + result[:, below + 1] * share
    tilt = np.linspace(-1, 1, BAND_COUNT, dtype=np.float32) * np.float32(generator.uniform(-1.0, 1.0))
    result = result + tilt + np.float32(generator.uniform(-2.5, 1.5))
    if generator.random() < 0.04 and len(features) > 20:
        result = np.logaddexp(result, _noise_under(result, noises, generator))
    np.maximum(result, SILENCE, out=result)
    return result


def _noise_under(
    speech: Floats, noises: list[npt.NDArray[np.float16]], generator: np.random.Generator
) -> Floats:
    noise = noises[int(generator.integers(len(noises)))]
    start = int(generator.integers(len(noise)))
    rows = np.resize(np.roll(noise, -start, axis=0), speech.shape).astype(np.float32)
    loudness = float(np.percentile(speech.mean(axis=1), 85))
    ratio = generator.uniform(5.0, 30.0) * np.log(10.0) / 10.0
    return rows - np.float32(rows.mean() - loudness + ratio)


def masked(normal: Floats, generator: np.random.Generator) -> Floats:
    """Hide a band and a few moments of (frames, 80), in place, behind their mean."""
    for _ in range(int(generator.random() < 0.15)):
        width = int(generator.integers(1, 13))
        start = int(generator.integers(0, BAND_COUNT - width))
        normal[:, start : start + width] = normal[:, start : start + width].mean()
    for _ in range(int(generator.random() < 0.15)):
        width = int(generator.integers(1, 14))
        start = int(generator.integers(0, max(1, len(normal) - width)))
        normal[start : start + width] = normal.mean()
    return normal


def padded(clips: list[Clip], shards: Shards, generator: np.random.Generator) -> tuple[Floats, list[int]]:
    """Features (clips, longest, 80), varied and masked, and their lengths."""
    lengths = [len(features) for features, _ in clips]
    batch = np.full((len(clips), bucket_frames(max(lengths)), BAND_COUNT), SILENCE, np.float32)
    for row, (features, _) in enumerate(clips):
        batch[row, : len(features)] = masked(changed(features, shards.noises, generator), generator)
    return batch, lengths
