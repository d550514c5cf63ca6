"""Trains and exports the voice activity detector: ``python -m training.asr.voice_activity_train MODEL.onnx``.

Makes its clips in memory (about 4 hours of audio, a few minutes), trains on one thread, writes the ONNX file.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.asr import voice_activity_data, voices
from training.asr.voice_activity_network import (
    SHIFT_SAMPLES,
    STATE_WIDTH,
    WINDOW_SAMPLES,
    Bands,
    Detector,
    SileroShaped,
)

BATCH_CLIPS = 32
PEAK_RATE = 3e-3


def clip_tensors(clip_count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Log bands (clips, windows, 140) in half precision and labels (clips, windows)."""
    bands, rng = Bands(), random.Random(seed)
    features: list[Tensor] = []
    labels: list[Tensor] = []
    for _ in range(clip_count):
        samples, speech = voice_activity_data.clip(rng, voices.training_speaker)
        padded = np.pad(samples[: len(speech) * SHIFT_SAMPLES], (0, WINDOW_SAMPLES - SHIFT_SAMPLES))
        windows = torch.from_numpy(padded).unfold(0, WINDOW_SAMPLES, SHIFT_SAMPLES)
        features.append(bands(windows).half())
        labels.append(torch.from_numpy(speech).float())
    return torch.stack(features), torch.stack(labels)


def train(features: Tensor, labels: Tensor, epochs: int) -> Detector:
    detector = Detector()
    sample = features[:200].float().flatten(0, 1)
    detector.mean.copy_(sample.mean(0))
    detector.deviation.copy_(sample.std(0))
    steps = epochs * (len(features) // BATCH_CLIPS)
    optimiser = torch.optim.AdamW(detector.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=steps, pct_start=0.1)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(features))[: steps // epochs * BATCH_CLIPS].split(BATCH_CLIPS):
            gain = torch.empty(len(rows), 1, 1).uniform_(-1.5, 1.5)
            state = torch.zeros(2, len(rows), STATE_WIDTH)
            scores, _ = detector(features[rows].float() + gain, state)
            loss = functional.binary_cross_entropy_with_logits(scores, labels[rows])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / (steps // epochs):.4f}", flush=True)
    detector.eval()
    return detector


def export(detector: Detector, path: Path) -> None:
    example = (torch.zeros(1, WINDOW_SAMPLES), torch.zeros(2, 1, STATE_WIDTH), torch.tensor([16_000]))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        SileroShaped(detector).eval(), example, str(path), input_names=["input", "state", "sr"],
        output_names=["output", "stateN"], opset_version=14, dynamo=False,
        dynamic_axes={name: {0 if "put" in name else 1: "streams"} for name in ("input", "state", "output", "stateN")},
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clips", type=int, default=1_500)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    with torch.no_grad():
        features, labels = clip_tensors(options.clips, options.seed)
    print(f"{labels.mean():.2f} of the windows hold speech", flush=True)
    export(train(features, labels, options.epochs), options.model)


if __name__ == "__main__":
    main()
