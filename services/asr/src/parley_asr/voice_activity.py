"""When speech starts, pauses, resumes and ends, from one yes or no per window. Pure; `recognition` drives it.

state     a speech window                             a silent window
silent    min_speech reached: STARTED, speaking       stays
speaking  stays                                       pause_silence reached: PAUSED, paused
                                                      end_silence reached: ENDED, silent (not when manual)
paused    RESUMED, speaking                           end_silence reached: ENDED, silent (not when manual)
"""

import enum
from dataclasses import dataclass

from parley_asr.ports import SAMPLE_RATE_HZ, WINDOW_SAMPLE_COUNT

WINDOW_MS = WINDOW_SAMPLE_COUNT * 1000 // SAMPLE_RATE_HZ


class ActivityKind(enum.Enum):
    """What changed."""

    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    ENDED = "ended"


@dataclass(frozen=True)
class Activity:
    """A change, and where: the first speech sample of STARTED and RESUMED, else the end of the last one."""

    kind: ActivityKind
    offset_samples: int


@dataclass(frozen=True)
class Endpointing:
    """When an utterance begins and ends; see the wire's EndpointingOptions for bounds."""

    manual: bool = False
    end_silence_ms: int = 600
    pause_silence_ms: int = 200
    speech_threshold: float = 0.5


class VoiceActivity:
    """Steps through the windows of one stream. Offsets count from its first sample."""

    def __init__(
        self, endpointing: Endpointing, *, onset_delay_window_count: int = 0, min_speech_window_count: int = 2
    ) -> None:
        """min_speech_window_count: speech windows in a row before it is believed."""
        self._endpointing = endpointing
        self._onset_delay = onset_delay_window_count
        self._min_speech = min_speech_window_count
        self._window_count = 0
        self._speech_run_count = 0
        self._speech_end_window = 0  # one past the last window that belonged to speech
        self._floor_window = 0  # what came before belongs to earlier utterances
        self._speaking = False
        self._paused = False

    @property
    def in_utterance(self) -> bool:
        """Whether speech has started and not ended."""
        return self._speaking

    @property
    def silent_ms(self) -> int:
        """How long nobody has spoken; only meaningful in an utterance."""
        return (self._window_count - self._speech_end_window) * WINDOW_MS

    def step(self, is_speech: bool) -> Activity | None:
        """Take the next window in; at most one thing changes."""
        self._window_count += 1
        self._speech_run_count = self._speech_run_count + 1 if is_speech else 0
        if not self._speaking:
            return self._start() if self._speech_run_count >= self._min_speech else None
        if is_speech:
            return self._go_on()
        if not self._endpointing.manual and self.silent_ms >= self._endpointing.end_silence_ms:
            return self.finish()
        if not self._paused and self.silent_ms >= self._endpointing.pause_silence_ms:
            self._paused = True
            return self._at(ActivityKind.PAUSED, self._speech_end_window)
        return None

    def finish(self) -> Activity | None:
        """End the utterance here, whatever is being said; None when there is none."""
        if not self._speaking:
            self.reset()
            return None
        ended = self._at(ActivityKind.ENDED, self._speech_end_window)
        self.reset()
        return ended

    def reset(self) -> None:
        """Forget the utterance without a word. Speech that goes on starts a new one."""
        self._speaking = self._paused = False
        self._speech_run_count = 0
        self._floor_window = self._window_count

    def _start(self) -> Activity:
        self._speaking = True
        self._speech_end_window = self._window_count
        return self._at(ActivityKind.STARTED, self._onset_window(self._speech_run_count, self._floor_window))

    def _go_on(self) -> Activity | None:
        last_end = self._speech_end_window
        self._speech_end_window = self._window_count
        if not self._paused:
            return None
        self._paused = False
        return self._at(ActivityKind.RESUMED, self._onset_window(1, last_end))

    def _onset_window(self, run_count: int, earliest: int) -> int:
        return max(self._window_count - run_count - self._onset_delay, earliest)

    @staticmethod
    def _at(kind: ActivityKind, window: int) -> Activity:
        return Activity(kind, window * WINDOW_SAMPLE_COUNT)
