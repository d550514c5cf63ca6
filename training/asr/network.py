"""The recogniser's network: strictly causal, 40 ms outputs, most of its work at 80 ms steps.

Called by training (whole clips) and export (``Streaming``: one chunk of 20 frames with its caches). A feature
convolution (kernel 8, stride 4) needs no cache because windows overlap by 4 frames; depthwise convolutions keep
their tails, a GRU its state. Half-way, phoneme probabilities are predicted (an auxiliary CTC target) and fed back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.asr.features import BAND_COUNT

KERNEL = 9
FEATURE_KERNEL, FEATURE_STRIDE = 8, 4
WINDOW_FRAMES, SHIFT_FRAMES = 20, 16
FINE, COARSE, HIDDEN, STATE, BOTTLENECK = 144, 208, 576, 240, 176
FINE_BLOCKS, COARSE_BLOCKS, PHONEME_AFTER = 1, 5, 3
PLACES, SOUND_WIDTH = 10, 224


def output_lengths(frame_counts: Tensor) -> Tensor:
    """40 ms outputs for feature frame counts (an even number)."""
    return ((frame_counts - FEATURE_KERNEL) // FEATURE_STRIDE + 1) // 2 * 2


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


class Head(nn.Module):
    """Token scores whose weights come from pronunciations: words that sound alike begin alike.

    A token's weight row is a small network's view of its phonemes, counted by their place from the start and from the
    end, plus a correction of its own (which tells homophones apart and is all that bare letters have).
    """

    def __init__(self, pronunciations: list[list[int]], phoneme_count: int) -> None:
        super().__init__()
        bags = [self._places(sounds, phoneme_count) for sounds in pronunciations]
        starts = torch.tensor([0, *(len(bag) for bag in bags)]).cumsum(0)[:-1]
        self.register_buffer(
            "places", torch.tensor([place for bag in bags for place in bag]), persistent=False
        )
        self.register_buffer("starts", starts, persistent=False)
        self.of_place = nn.Parameter(torch.randn(2 * PLACES * phoneme_count, SOUND_WIDTH) * 0.4)
        self.norm = nn.LayerNorm(SOUND_WIDTH)
        self.of_sound = nn.Linear(SOUND_WIDTH, BOTTLENECK)
        self.correction = nn.Parameter(torch.zeros(len(pronunciations), BOTTLENECK))
        self.bias = nn.Parameter(torch.zeros(len(pronunciations)))

    @staticmethod
    def _places(sounds: list[int], phoneme_count: int) -> list[int]:
        from_start = [min(index, PLACES - 1) * phoneme_count + sound for index, sound in enumerate(sounds)]
        from_end = [
            (PLACES + min(index, PLACES - 1)) * phoneme_count + sound
            for index, sound in enumerate(reversed(sounds))
        ]
        return from_start + from_end

    def weight(self) -> Tensor:
        """The (tokens, 176) matrix."""
        sums = functional.embedding_bag(self.places, self.of_place, self.starts, mode="sum")
        view: Tensor = self.of_sound(functional.silu(self.norm(sums)))
        return view + self.correction

    def forward(self, steps: Tensor) -> Tensor:
        return functional.linear(steps, self.weight(), self.bias)


class Network(nn.Module):
    """Log-mel features to token and phoneme scores."""

    def __init__(self, pronunciations: list[list[int]], phoneme_count: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(BAND_COUNT))
        self.register_buffer("deviation", torch.ones(BAND_COUNT))
        self.phoneme_count = phoneme_count
        self.feature_convolution = nn.Conv1d(BAND_COUNT, FINE, FEATURE_KERNEL, FEATURE_STRIDE)
        sizes = [FINE] * FINE_BLOCKS + [COARSE] * COARSE_BLOCKS
        self.block_sizes = sizes
        self.blocks = nn.ModuleList([Block(size, HIDDEN if size == COARSE else 2 * FINE) for size in sizes])
        self.join = nn.Linear(2 * FINE, COARSE)
        self.phoneme_head = nn.Linear(COARSE, 2 * phoneme_count)
        self.phoneme_return = nn.Linear(2 * phoneme_count, COARSE)
        self.norm = nn.LayerNorm(COARSE)
        self.gru = nn.GRU(COARSE, STATE, batch_first=True)
        self.bottleneck = nn.Linear(STATE + COARSE, 2 * BOTTLENECK)
        self.head = Head(pronunciations, phoneme_count)
        self.dropout = nn.Dropout(dropout)

    def begin(self, batch_size: int) -> tuple[list[Tensor], Tensor]:
        """Empty caches: convolution tails and the GRU state (1, N, 240)."""
        zeros = self.mean.new_zeros
        tails = [zeros(batch_size, KERNEL - 1, size) for size in self.block_sizes]
        return tails, zeros(1, batch_size, STATE)

    def encode(self, features: Tensor, tails: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Raw features (N, F, 80) -> 80 ms steps (N, T, 208), phoneme scores (N, 2T, P), new tails."""
        normal = (features - self.mean) / self.deviation
        steps = functional.silu(self.feature_convolution(normal.transpose(1, 2))).transpose(1, 2)
        new_tails: list[Tensor] = []
        phonemes = steps
        for index, block in enumerate(self.blocks):
            if index == FINE_BLOCKS:
                pairs = steps.shape[1] // 2
                steps = self.join(steps[:, : 2 * pairs].reshape(steps.shape[0], pairs, 2 * FINE))
            steps, tail = block(steps, tails[index])
            new_tails.append(tail)
            if index == FINE_BLOCKS + PHONEME_AFTER - 1:
                scores = self.phoneme_head(steps)
                phonemes = scores.reshape(steps.shape[0], -1, self.phoneme_count)
                guesses = phonemes.softmax(-1).reshape(steps.shape[0], -1, 2 * self.phoneme_count)
                steps = steps + self.phoneme_return(guesses)
        return self.norm(steps), phonemes, new_tails

    def classify(self, steps: Tensor, heard: Tensor, head: nn.Module) -> Tensor:
        """80 ms steps and GRU outputs -> token scores before softmax every 40 ms, (N, 2T, tokens)."""
        both = self.bottleneck(self.dropout(torch.cat([steps, heard], dim=2)))
        scores: Tensor = head(both.reshape(steps.shape[0], -1, BOTTLENECK))
        return scores

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Whole clips (N, F, 80) -> token and phoneme scores before softmax, (N, T, tokens) and (N, T, phonemes)."""
        tails, state = self.begin(features.shape[0])
        steps, phonemes, _ = self.encode(features, tails)
        with torch.autocast("cpu", enabled=False):  # step by step, the GRU is slower in bfloat16
            heard, _ = self.gru(steps.float(), state)
        return self.classify(steps, heard, self.head), phonemes


class Streaming(nn.Module):
    """The network as sherpa-onnx calls it: one window and flattened caches in, log-probabilities and caches out.

    The GRU is written out step by step with plain matrix products, which the int8 quantiser understands.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.of_input = nn.Linear(COARSE, 3 * STATE)
        self.of_state = nn.Linear(STATE, 3 * STATE)
        gru = network.gru
        with torch.no_grad():
            self.of_input.weight.copy_(gru.weight_ih_l0)
            self.of_input.bias.copy_(gru.bias_ih_l0)
            self.of_state.weight.copy_(gru.weight_hh_l0)
            self.of_state.bias.copy_(gru.bias_hh_l0)
            self.head = nn.Linear(*reversed(network.head.correction.shape))
            self.head.weight.copy_(network.head.weight())
            self.head.bias.copy_(network.head.bias)

    @property
    def tail_count(self) -> int:
        """Numbers in the flattened convolution tails of one stream."""
        return (KERNEL - 1) * sum(self.network.block_sizes)

    def _step(self, of_input: Tensor, state: Tensor) -> Tensor:
        """One GRU step (N, 1, 720), (N, 1, 240) -> (N, 1, 240), in the notation of torch.nn.GRU."""
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
        """(N, 80, 20), (N), (N, 1, 1, 240), (N, 1, 1, tails), (N) -> (N, 4, tokens), (N), the next caches."""
        batch = audio_signal.shape[0]
        sizes = [(KERNEL - 1) * size for size in self.network.block_sizes]
        parts = cache_time.reshape(batch, self.tail_count).split(sizes, dim=1)
        tails = [
            part.reshape(batch, KERNEL - 1, size)
            for part, size in zip(parts, self.network.block_sizes, strict=True)
        ]
        steps, _, new_tails = self.network.encode(audio_signal.transpose(1, 2), tails)
        state = cache_channel.reshape(batch, 1, STATE)
        of_inputs = self.of_input(steps)
        heard: list[Tensor] = []
        for index in range(SHIFT_FRAMES // FEATURE_STRIDE // 2):
            state = self._step(of_inputs[:, index : index + 1], state)
            heard.append(state)
        scores = self.network.classify(steps, torch.cat(heard, dim=1), self.head).log_softmax(-1)
        flat = torch.cat([tail.reshape(batch, -1) for tail in new_tails], dim=1)
        return (
            scores,
            torch.div(length, 5, rounding_mode="floor"),
            state.reshape(batch, 1, 1, STATE),
            flat.reshape(batch, 1, 1, self.tail_count),
            cache_length + SHIFT_FRAMES // FEATURE_STRIDE,
        )
