"""CTC loss for thousands of tokens at a small cost: only the columns that a clip's text needs enter the loss.

Called by ``train``. Equal to softmax plus ``ctc_loss`` over the whole vocabulary (probabilities outside the text only
matter through the normaliser), with half the passes over the large score tensor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class _SparseCtc(torch.autograd.Function):
    """CTC losses (N) of scores (N, T, V), given each clip's own columns (N, K) and its text in column positions."""

    @staticmethod
    def forward(
        context: Any, scores: Tensor, columns: Tensor, flat_targets: Tensor, steps: Tensor, sizes: Tensor
    ) -> Tensor:
        working = scores.to(torch.float32, copy=True)
        normaliser = working.logsumexp(-1, keepdim=True)
        index = columns[:, None, :].expand(-1, scores.shape[1], -1)
        with torch.enable_grad():
            picked = (working.gather(2, index) - normaliser).detach().requires_grad_()
            losses = functional.ctc_loss(
                picked.transpose(0, 1), flat_targets, steps, sizes, reduction="none", zero_infinity=True
            )
            (gradient,) = torch.autograd.grad(losses.sum(), picked)
        counted = (torch.arange(scores.shape[1])[None, :, None] < steps[:, None, None]).to(torch.float32)
        counted = counted * (losses.detach()[:, None, None] > 0)
        # PyTorch's CTC gradient already contains the softmax term of the columns it was given; here that term is
        # taken out again, because the backward pass adds it for the whole vocabulary.
        occupied = gradient - picked.detach().exp() * counted
        probabilities = working.sub_(normaliser).exp_()
        context.save_for_backward(probabilities, index, occupied, counted)
        context.scores_type = scores.dtype
        return losses.detach()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        probabilities, index, occupied, counted = context.saved_tensors
        weight = gradients[0][:, None, None]
        gradient = probabilities.mul_(counted * weight)
        gradient.scatter_add_(2, index, occupied * weight)
        return gradient.to(context.scores_type), None, None, None, None


def sparse_ctc_loss(scores: Tensor, targets: list[list[int]], steps: Tensor) -> Tensor:
    """Mean loss per clip. ``scores`` (N, T, V) before softmax, blank 0; ``targets`` token numbers; ``steps`` (N)."""
    alphabets = [[0, *dict.fromkeys(target)] for target in targets]
    widest = max(map(len, alphabets))
    columns = torch.tensor([alphabet + [0] * (widest - len(alphabet)) for alphabet in alphabets])
    flat = [
        alphabet.index(token) for alphabet, target in zip(alphabets, targets, strict=True) for token in target
    ]
    sizes = torch.tensor([len(target) for target in targets])
    losses: Tensor = _SparseCtc.apply(scores, columns, torch.tensor(flat, dtype=torch.long), steps, sizes)
    return losses.mean()
