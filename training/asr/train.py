"""Trains the recogniser: ``python -m training.asr.train DATA RUN --steps 24000``.

One thread by choice (two fight over shared cores). Writes every 500 steps
``RUN/checkpoint.pt`` with an exponential average of the weights, which is what export takes. Continues from
``RUN/checkpoint.pt`` when it is there.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.asr.batches import Clip, Shards, padded
from training.asr.network import Network, output_lengths
from training.asr.phonemes import SYMBOLS, encode

PEAK_RATE = 1.2e-3
WARM_UP_STEPS = 500
AVERAGE_DECAY = 0.998
GUESS_WEIGHT = 0.3


def endless(shards: Shards, generator: np.random.Generator) -> Iterator[list[Clip]]:
    """Passes over all clips made so far, for ever."""
    while True:
        yield from shards.batches(generator)
        shards.refresh()


def ctc_loss(scores: Tensor, targets: list[list[int]], steps: Tensor) -> Tensor:
    """Mean loss per clip of scores (N, T, tokens) before softmax."""
    flat = torch.tensor([token for target in targets for token in target], dtype=torch.long)
    sizes = torch.tensor([len(target) for target in targets])
    likely = scores.float().log_softmax(-1).transpose(0, 1)
    losses = functional.ctc_loss(likely, flat, steps, sizes, reduction="none", zero_infinity=True)
    return losses.mean()


def loss_of(network: Network, clips: list[Clip], features: Tensor, lengths: list[int]) -> Tensor:
    """CTC loss of the result plus a share of that of the first guesses."""
    with torch.autocast("cpu", torch.bfloat16):
        scores, guesses = network(features)
    steps = output_lengths(torch.tensor(lengths))
    targets = [encode(text) for _, text in clips]
    return ctc_loss(scores, targets, steps) + GUESS_WEIGHT * ctc_loss(guesses, targets, steps)


def learning_rate(step: int, progress: float) -> float:
    """Rises for the first steps, then falls in a straight line to nothing at progress 1."""
    return PEAK_RATE * min(1.0, step / WARM_UP_STEPS) * max(1.0 - progress, 0.002)


def begin_from(network: Network, checkpoint: Path) -> None:
    """Take another run's averaged weights, with a new schedule."""
    network.load_state_dict(torch.load(checkpoint)["average"])


def train(data: Path, run: Path, steps: int, minutes: float, seed: int, start_from: Path | None) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    run.mkdir(parents=True, exist_ok=True)
    shards = Shards(data)
    network = Network(len(SYMBOLS))
    mean, deviation = shards.statistics()
    network.mean.copy_(torch.from_numpy(mean))
    network.deviation.copy_(torch.from_numpy(deviation))
    if start_from:
        begin_from(network, start_from)
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    first, spent = 0, 0.0
    if (run / "checkpoint.pt").exists():
        stored = torch.load(run / "checkpoint.pt")
        network.load_state_dict(stored["network"])
        average.load_state_dict(stored["average"])
        optimiser.load_state_dict(stored["optimiser"])
        first, spent = stored["step"], stored["spent_seconds"]
    print(f"{sum(map(torch.numel, network.parameters())):,} parameters", flush=True)
    generator = np.random.default_rng([seed, first])
    clips_of_step = endless(shards, generator)
    started, heard_seconds, recent = time.monotonic(), 0.0, 0.0
    step, progress = first, 0.0
    while progress < 1.0:
        step += 1
        elapsed = spent + time.monotonic() - started
        progress = max(step / steps, elapsed / (60 * minutes))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, progress)
        clips = next(clips_of_step)
        batch, lengths = padded(clips, shards, generator)
        loss = loss_of(network, clips, torch.from_numpy(batch), lengths)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 20.0)
        optimiser.step()
        with torch.no_grad():
            decay = min(AVERAGE_DECAY, step / (step + 50))
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        heard_seconds += sum(lengths) / 100
        recent += loss.item()
        if step % 100 == 0:
            speed = heard_seconds / (time.monotonic() - started)
            print(
                f"{step} loss {recent / 100:.3f} {progress:.3f} {speed:.0f}x {len(shards.clips)} clips",
                flush=True,
            )
            recent = 0.0
        if step % 500 == 0 or progress >= 1.0:
            state = {"step": step, "network": network.state_dict(), "average": average.state_dict()}
            state |= {"optimiser": optimiser.state_dict(), "spent_seconds": elapsed}
            torch.save(state, run / "partial.pt")
            (run / "partial.pt").rename(run / "checkpoint.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=24_000)
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="end the schedule after this much time instead"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start-from", type=Path, help="checkpoint whose averaged weights to begin with")
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options.data, options.run, options.steps, options.minutes, options.seed, options.start_from)


if __name__ == "__main__":
    main()
