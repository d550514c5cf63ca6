"""`Utterance`: the audio of one utterance on its way to the recogniser, and where in the stream it came from.

Used by `recognition` only. Long pauses are left out of what the recogniser hears, so its times have to be
mapped back.
"""

import bisect

import numpy as np

from parley_asr.ports import RecognitionStream, Samples, TimedWord


class Utterance:
    """One utterance under way. Offsets are in samples from the first sample of the live recognition."""

    def __init__(self, index: int, stream: RecognitionStream, start_sample: int) -> None:
        """start_sample: where speech began (the audio fed may begin before it)."""
        self.index = index
        self.stream = stream
        self.start_sample = start_sample
        self.text = ""
        self.pending_sample_count = 0
        self._pending: list[Samples] = []
        self._fed_count = 0
        self._piece_starts: list[int] = []  # in fed samples
        self._piece_shifts: list[int] = []  # stream offset minus fed samples, for each piece

    def append(self, samples: Samples, offset: int) -> None:
        """Audio to be decoded next, which lies at `offset`."""
        shift = offset - self._fed_count
        if not self._piece_shifts or self._piece_shifts[-1] != shift:
            self._piece_starts.append(self._fed_count)
            self._piece_shifts.append(shift)
        self._pending.append(samples)
        self._fed_count += len(samples)
        self.pending_sample_count += len(samples)

    def take_pending(self) -> Samples:
        """Everything appended since the last call, in one piece, maybe empty."""
        taken = np.concatenate(self._pending) if self._pending else np.zeros(0, dtype=np.float32)
        self._pending.clear()
        self.pending_sample_count = 0
        return taken

    def stability_of(self, text: str) -> float:
        """Which share of `text` was already in the text before it."""
        same_count = 0
        for before, now in zip(self.text, text, strict=False):
            if before != now:
                break
            same_count += 1
        return same_count / len(text) if text else 0.0

    def placed(self, words: tuple[TimedWord, ...]) -> tuple[TimedWord, ...]:
        """Words with times of the fed audio, with offsets of the stream instead."""
        return tuple(
            TimedWord(word.text, self._place(word.start_sample), self._place(word.end_sample))
            for word in words
        )

    def _place(self, fed_sample: int) -> int:
        within = min(max(fed_sample, 0), self._fed_count)
        piece = bisect.bisect_right(self._piece_starts, within) - 1
        return within + self._piece_shifts[piece] if piece >= 0 else self.start_sample
