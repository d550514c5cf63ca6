"""A Llama-shaped language model, small enough for one processor thread. Called by train.py and export.py.

Rotary positions pair the halves of a head (fast here);
llama.cpp pairs neighbours, so export.py reorders rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; every row length is a multiple of 32, the block of Q8_0."""

    vocabulary_size: int = 3072
    width: int = 192
    layer_count: int = 6
    head_count: int = 6
    feed_forward_width: int = 512
    context_length: int = 512
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.head_count


def rotation(shape: Shape) -> Tensor:
    """Rotary angles as (2, context_length, head_width): cosines, then sines; the two halves are equal."""
    exponents = torch.arange(0, shape.head_width, 2).float() / shape.head_width
    angles = torch.arange(shape.context_length).float()[:, None] * shape.rope_base ** -exponents[None, :]
    return torch.stack([angles.cos(), angles.sin()]).repeat(1, 1, 2)


def rotate(heads: Tensor, turn: Tensor) -> Tensor:
    """Turn (batch, heads, time, head_width) by its position; channel i pairs with i + head_width / 2."""
    cosines, sines = turn[:, : heads.shape[2]].to(heads.dtype)
    first, second = heads.chunk(2, dim=-1)
    turned: Tensor = heads * cosines + torch.cat([-second, first], dim=-1) * sines
    return turned


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention written out: in bfloat16 on a processor it is faster than the fused one."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    time = query.shape[2]
    future = torch.full((time, time), float("-inf"), dtype=scores.dtype).triu(1)
    return functional.softmax((scores + future).float(), dim=-1).to(value.dtype) @ value


class Block(nn.Module):
    """Attention and gated feed-forward, each after its own root-mean-square norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_count = shape.head_count
        self.attention_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.attention_output = nn.Linear(shape.width, shape.width, bias=False)
        self.feed_forward_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.gate_up = nn.Linear(shape.width, 2 * shape.feed_forward_width, bias=False)
        self.down = nn.Linear(shape.feed_forward_width, shape.width, bias=False)

    def forward(self, stream: Tensor, turn: Tensor) -> Tensor:
        batch, time, width = stream.shape
        mixed = self.query_key_value(self.attention_norm(stream)).view(batch, time, 3, self.head_count, -1)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        attended = attend(rotate(query, turn), rotate(key, turn), value)
        stream = stream + self.attention_output(attended.transpose(1, 2).reshape(batch, time, width))
        gate, up = self.gate_up(self.feed_forward_norm(stream)).chunk(2, dim=-1)
        output: Tensor = stream + self.down(functional.silu(gate) * up)
        return output


class TinyLlama(nn.Module):
    """Token ids (batch, time) to streams (batch, time, width); `logits` maps streams to the vocabulary."""

    turn: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layer_count))
        self.final_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.register_buffer("turn", rotation(shape), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                ends_residual = name.endswith(("attention_output.weight", "down.weight"))
                nn.init.normal_(
                    parameter, std=0.02 / (2 * shape.layer_count) ** (0.5 if ends_residual else 0)
                )

    def forward(self, tokens: Tensor) -> Tensor:
        stream = self.embedding(tokens)
        for block in self.blocks:
            stream = block(stream, self.turn)
        normed: Tensor = self.final_norm(stream)
        return normed

    def logits(self, stream: Tensor) -> Tensor:
        """Scores over the vocabulary; the embedding is tied."""
        return functional.linear(stream, self.embedding.weight)
