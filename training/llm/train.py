"""`python -m training.llm.train FOLDER`: trains the model on one thread and writes FOLDER/model.pt.

Needs FOLDER/tokenizer.json. Weights are kept in float32, a bfloat16 copy computes.
"""

import argparse
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training.llm.batches import Batch, batches
from training.llm.corpus import Corpus
from training.llm.model import Shape, TinyLlama

TRAINING_SEED, HELD_OUT_SEED = 1, 900_001
REPORT_EVERY = 100


class TwoPrecisions:
    """A bfloat16 model and its float32 master weights; matrices learn with Muon, the rest with AdamW."""

    def __init__(self, shape: Shape, learning_rate: float) -> None:
        self.model = TinyLlama(shape).bfloat16()
        self.master = {
            name: weight.detach().float().clone() for name, weight in self.model.named_parameters()
        }
        matrices = [weight for name, weight in self.master.items() if "blocks" in name and weight.dim() == 2]
        others = [
            weight for name, weight in self.master.items() if not ("blocks" in name and weight.dim() == 2)
        ]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def load(self, weights: dict[str, Tensor]) -> None:
        """Start from these float32 weights."""
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                self.master[name].copy_(weights[name])
                weight.copy_(weights[name])

    def step(self, learning_rate: float) -> None:
        """Move the master weights along the model's gradients and copy them back."""
        for name, weight in self.model.named_parameters():
            assert weight.grad is not None
            self.master[name].grad = weight.grad.float()
            weight.grad = None
        torch.nn.utils.clip_grad_norm_(list(self.master.values()), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(self.master[name])


def batch_loss(model: TinyLlama, stream: Tensor, batch: Batch) -> Tensor:
    """Mean weighted cross entropy over the learned tokens."""
    logits = model.logits(stream.flatten(0, 1)[batch.positions]).float()
    losses = functional.cross_entropy(logits, batch.targets, reduction="none")
    return (losses * batch.weights).sum() / batch.weights.sum()


def scheduled_rate(step: int, step_count: int, peak: float) -> float:
    """Warm up over 100 steps, then fall to zero in a straight line."""
    return peak * min(1.0, (step + 1) / 100) * (1 - step / step_count)


def train(folder: Path, shape: Shape, step_count: int, peak_rate: float, start: Path | None = None) -> None:
    """Run `step_count` steps, from the weights in `start` if given; every report writes a checkpoint."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    precisions = TwoPrecisions(shape, peak_rate)
    model = precisions.model
    if start is not None:
        precisions.load(torch.load(start, weights_only=True)["weights"])
    compiled = torch.compile(model, dynamic=False)
    held_out = [batch for batch, _ in zip(batches(Corpus(HELD_OUT_SEED), tokenizer), range(8), strict=False)]
    stream_of_batches = batches(Corpus(TRAINING_SEED), tokenizer)
    started, token_count, losses = time.monotonic(), 0, []
    for step in range(step_count):
        batch = next(stream_of_batches)
        loss = batch_loss(model, compiled(batch.tokens), batch)
        torch.autograd.backward(loss)
        precisions.step(scheduled_rate(step, step_count, peak_rate))
        losses.append(loss.item())
        token_count += batch.tokens.numel()
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == step_count:
            # Not under no_grad: that would compile every shape a second time.
            unseen_losses = [batch_loss(model, compiled(batch.tokens), batch).item() for batch in held_out]
            unseen = sum(unseen_losses) / len(unseen_losses)
            minutes = (time.monotonic() - started) / 60
            mean = sum(losses[-REPORT_EVERY:]) / len(losses[-REPORT_EVERY:])
            print(
                f"step {step + 1} loss {mean:.4f} held-out {unseen:.4f} "
                f"{token_count / 1e6:.1f}M tokens {minutes:.1f} min",
                flush=True,
            )
            torch.save({"shape": shape.__dict__, "weights": precisions.master}, folder / "model.pt")


def main() -> None:
    """Parse the command line and train."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--step-count", type=int, default=3000)
    arguments.add_argument("--learning-rate", type=float, default=4e-3)
    arguments.add_argument("--start-from", type=Path, help="a model.pt trained with the same tokenizer")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(TRAINING_SEED)
    train(options.folder, Shape(), options.step_count, options.learning_rate, options.start_from)


if __name__ == "__main__":
    main()
