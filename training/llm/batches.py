"""Turns the endless corpus into batches of a few fixed shapes. Called by train.py."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.llm.chat_template import encode
from training.llm.corpus import Corpus

LENGTHS = (96, 160, 256, 512)
TOKENS_PER_BATCH = 8192
COPIED_WEIGHT = 4.0


@dataclass(frozen=True)
class Batch:
    """`tokens` (rows, length); `targets` (n,) with `weights` (n,) are learned at flat `positions` (n,)."""

    tokens: Tensor
    positions: Tensor
    targets: Tensor
    weights: Tensor


def batches(corpus: Corpus, tokenizer: Tokenizer) -> Iterator[Batch]:
    """Endless batches; conversations of similar length share one, longer ones than 512 tokens are cut."""
    waiting: dict[int, list[tuple[list[int], list[float]]]] = {length: [] for length in LENGTHS}
    while True:
        ids, weights = encode(corpus.conversation(), tokenizer, COPIED_WEIGHT)
        length = next((length for length in LENGTHS if len(ids) <= length), LENGTHS[-1])
        waiting[length].append((ids[:length], weights[:length]))
        if len(waiting[length]) == TOKENS_PER_BATCH // length:
            yield _pack(waiting[length], length)
            waiting[length] = []


def _pack(rows: list[tuple[list[int], list[float]]], length: int) -> Batch:
    tokens = torch.zeros(len(rows), length, dtype=torch.long)
    weights = torch.zeros(len(rows), length)
    for row, (ids, row_weights) in enumerate(rows):
        tokens[row, : len(ids)] = torch.tensor(ids)
        weights[row, : len(ids) - 1] = torch.tensor(row_weights[1:])  # position t predicts token t + 1
    positions = weights.flatten().nonzero().squeeze(1)
    return Batch(
        tokens, positions, tokens.roll(-1, dims=1).flatten()[positions], weights.flatten()[positions]
    )
