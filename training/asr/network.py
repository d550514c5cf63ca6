"""The recogniser's network: strictly causal, one step and one output every 40 ms.

Called by training (whole clips) and export (``Streaming``: one chunk of 20 frames with its caches). A feature
convolution (kernel 8, stride 4) needs no cache because windows overlap by 4 frames; depthwise convolutions keep
their tails, a GRU its state. Half-way, phonemes are predicted once already (an auxiliary CTC target) and fed back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.asr.features import BAND_COUNT

KERNEL = 9
FEATURE_KERNEL, FEATURE_STRIDE = 8, 4
WINDOW_FRAMES, SHIFT_FRAMES = 20, 16
CHANNELS, HIDDEN, STATE = 192, 384, 224
BLOCKS, GUESS_AFTER = 6, 4


def output_lengths(frame_counts: Tensor) -> Tensor:
    """40 ms outputs for feature frame counts."""
    return (frame_counts - FEATURE_KERNEL) // FEATURE_STRIDE + 1


class Block(nn.Module):
    """Causal depthwise convolution, layer norm and a feed-forward pair around a residual connection."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, channels, KERNEL, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, hidden)
        self.contract = nn.Linear(hidden, channels)

    def forward(self, steps: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, C) and the 8 steps before them (N, 8, C) -> the same shapes."""
        extended = torch.cat([tail, steps], dim=1)
        mixed = self.convolution(extended.transpose(1, 2)).transpose(1, 2)
        changed = self.contract(functional.silu(self.expand(self.norm(mixed))))
        return steps + changed, extended[:, -(KERNEL - 1) :]


class Network(nn.Module):
    """Log-mel features to phoneme scores."""

    def __init__(self, token_count: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(BAND_COUNT))
        self.register_buffer("deviation", torch.ones(BAND_COUNT))
        self.feature_convolution = nn.Conv1d(BAND_COUNT, CHANNELS, FEATURE_KERNEL, FEATURE_STRIDE)
        self.blocks = nn.ModuleList([Block(CHANNELS, HIDDEN) for _ in range(BLOCKS)])
        self.guess = nn.Linear(CHANNELS, token_count)
        self.guess_return = nn.Linear(token_count, CHANNELS)
        self.norm = nn.LayerNorm(CHANNELS)
        self.gru = nn.GRU(CHANNELS, STATE, batch_first=True)
        self.head = nn.Linear(STATE + CHANNELS, token_count)
        self.dropout = nn.Dropout(dropout)

    def begin(self, batch_size: int) -> tuple[list[Tensor], Tensor]:
        """Empty caches: convolution tails (N, 8, 192) and the GRU state (1, N, 224)."""
        zeros = self.mean.new_zeros
        tails = [zeros(batch_size, KERNEL - 1, CHANNELS) for _ in self.blocks]
        return tails, zeros(1, batch_size, STATE)

    def encode(self, features: Tensor, tails: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Raw features (N, F, 80) -> steps (N, T, 192), first guesses (N, T, tokens), new tails."""
        normal = (features - self.mean) / self.deviation
        steps = functional.silu(self.feature_convolution(normal.transpose(1, 2))).transpose(1, 2)
        new_tails: list[Tensor] = []
        guesses = steps
        for index, block in enumerate(self.blocks):
            steps, tail = block(steps, tails[index])
            new_tails.append(tail)
            if index == GUESS_AFTER - 1:
                guesses = self.guess(steps)
                steps = steps + self.guess_return(guesses.softmax(-1))
        return self.norm(steps), guesses, new_tails

    def classify(self, steps: Tensor, heard: Tensor) -> Tensor:
        """Steps and GRU outputs -> token scores before softmax, (N, T, tokens)."""
        scores: Tensor = self.head(self.dropout(torch.cat([steps, heard], dim=2)))
        return scores

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Whole clips (N, F, 80) -> scores and first guesses before softmax, both (N, T, tokens)."""
        tails, state = self.begin(features.shape[0])
        steps, guesses, _ = self.encode(features, tails)
        with torch.autocast("cpu", enabled=False):  # step by step, the GRU is slower in bfloat16
            heard, _ = self.gru(steps.float(), state)
        return self.classify(steps, heard), guesses


class Streaming(nn.Module):
    """The network as sherpa-onnx calls it: one window and flattened caches in, log-probabilities and caches out.

    The GRU is written out step by step with plain matrix products, which the int8 quantiser understands.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.of_input = nn.Linear(CHANNELS, 3 * STATE)
        self.of_state = nn.Linear(STATE, 3 * STATE)
        gru = network.gru
        with torch.no_grad():
            self.of_input.weight.copy_(gru.weight_ih_l0)
            self.of_input.bias.copy_(gru.bias_ih_l0)
            self.of_state.weight.copy_(gru.weight_hh_l0)
            self.of_state.bias.copy_(gru.bias_hh_l0)

    @property
    def tail_count(self) -> int:
        """Numbers in the flattened convolution tails of one stream."""
        return (KERNEL - 1) * CHANNELS * BLOCKS

    def _step(self, of_input: Tensor, state: Tensor) -> Tensor:
        """One GRU step (N, 1, 672), (N, 1, 224) -> (N, 1, 224), in the notation of torch.nn.GRU."""
        reset_in, update_in, new_in = of_input.chunk(3, dim=2)
        reset_state, update_state, new_state = self.of_state(state).chunk(3, dim=2)
        reset = torch.sigmoid(reset_in + reset_state)
        update = torch.sigmoid(update_in + update_state)
        proposal = torch.tanh(new_in + reset * new_state)
        return (1 - update) * proposal + update * state

    def forward(
        self,
        audio_signal: Tensor,
        length: Tensor,
        cache_channel: Tensor,
        cache_time: Tensor,
        cache_length: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(N, 80, 20), (N), (N, 1, 1, 224), (N, 1, 1, tails), (N) -> (N, 4, tokens), (N), the next caches."""
        batch = audio_signal.shape[0]
        parts = cache_time.reshape(batch, self.tail_count).split((KERNEL - 1) * CHANNELS, dim=1)
        tails = [part.reshape(batch, KERNEL - 1, CHANNELS) for part in parts]
        steps, _, new_tails = self.network.encode(audio_signal.transpose(1, 2), tails)
        state = cache_channel.reshape(batch, 1, STATE)
        of_inputs = self.of_input(steps)
        heard: list[Tensor] = []
        for index in range(SHIFT_FRAMES // FEATURE_STRIDE):
            state = self._step(of_inputs[:, index : index + 1], state)
            heard.append(state)
        scores = self.network.classify(steps, torch.cat(heard, dim=1)).log_softmax(-1)
        flat = torch.cat([tail.reshape(batch, -1) for tail in new_tails], dim=1)
        return (
            scores,
            torch.div(length, 5, rounding_mode="floor"),
            state.reshape(batch, 1, 1, STATE),
            flat.reshape(batch, 1, 1, self.tail_count),
            cache_length + SHIFT_FRAMES // FEATURE_STRIDE,
        )
