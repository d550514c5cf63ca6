"""What happened to one person's frames and turns, on the clock of the process. Filled by the peers' scripted ends."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.peers.workload import FRAME_MS, LEAD_MS, SAMPLE_RATE_HZ, ScriptedTurn, Workload

_FRAME_SAMPLES = SAMPLE_RATE_HZ * FRAME_MS // 1000


@dataclass
class SessionRecord:
    """One session's. Times are seconds of `clock`; the person's first frame is due at `start_at`.

    Lateness of a frame that is sent: when the scripted recogniser got it, less when the person was due to send it.
    Of a piece of reply audio: when the output got it, less when it was due there: `LEAD_MS` before its turn to be
    played, as counted from the first of its reply.
    """

    workload: Workload
    start_at: float = field(default_factory=time.monotonic)
    clock: Callable[[], float] = time.monotonic
    sent_late_ms: list[float] = field(default_factory=list)
    reply_late_ms: list[float] = field(default_factory=list)
    overheads_ms: list[float] = field(default_factory=list)
    turn_count: int = 0
    lost_turn_count: int = 0
    _arrived_samples: int = 0
    _turn_ended_at: float = 0.0
    _is_awaiting_reply: bool = False
    _reply_began_at: float = 0.0
    _reply_ms: float = 0.0

    def audio_arrived(self, sample_count: int) -> None:
        """The recogniser got the next `sample_count` samples."""
        self.sent_late_ms.append((self.clock() - self._due_at(self._arrived_samples)) * 1000)
        self._arrived_samples += sample_count

    def turn_ended(self) -> ScriptedTurn:
        """The recogniser just got the last labelled frame. The script of the turn that it ended."""
        self._turn_ended_at = self._due_at(self._arrived_samples - _FRAME_SAMPLES)
        self.lost_turn_count += self._is_awaiting_reply
        self._is_awaiting_reply = True
        self.turn_count += 1
        return self.turn

    def reply_audio(self, duration_ms: float) -> None:
        """The output got the next piece of reply audio."""
        now = self.clock()
        if self._is_awaiting_reply:
            self._is_awaiting_reply = False
            took_ms = (now - self._turn_ended_at) * 1000
            self.overheads_ms.append(took_ms - self.turn.engines_ms)
            self._reply_began_at, self._reply_ms = now, 0.0
        due_at = self._reply_began_at + max(0.0, self._reply_ms - LEAD_MS) / 1000
        self.reply_late_ms.append((now - due_at) * 1000)
        self._reply_ms += duration_ms

    @property
    def turn(self) -> ScriptedTurn:
        """The script of the turn that ended last, or of the first."""
        return self.workload.turn(max(0, self.turn_count - 1))

    @property
    def next_turn(self) -> ScriptedTurn:
        """The script of the turn that is being spoken."""
        return self.workload.turn(self.turn_count)

    def forget(self) -> None:
        """Measure anew from here on."""
        self.sent_late_ms.clear()
        self.reply_late_ms.clear()
        self.overheads_ms.clear()
        self.lost_turn_count = 0

    def _due_at(self, sample_index: int) -> float:
        return self.start_at + sample_index / SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Step:
    """What a number of sessions came to over some seconds.

    reply_late_p99_ms: of every piece of reply audio at the person; sent_late_p99_ms: of every frame of the person's at
    the recogniser, of Parley's people when they send it (what comes after that nobody sees); cpu: of the process that
    is compared; all_cpu: of every process that serves, the person's excepted where they have one of their own.
    """

    session_count: int
    reply_late_p99_ms: float
    sent_late_p99_ms: float
    overhead_p50_ms: float
    overhead_p95_ms: float
    cpu_us_per_frame: float
    all_cpu_us_per_frame: float
    cpu_s_per_session_s: float
    turn_count: int
    lost_turn_count: int

    @property
    def is_in_time(self) -> bool:
        """Whether people were served: 99 of 100 pieces of audio less than 20 ms late, and no turn without a reply."""
        return self.reply_late_p99_ms < FRAME_MS and self.lost_turn_count == 0


def is_overloaded(steps: Sequence[Step]) -> bool:
    """Whether the last two steps were late: one alone may be the machine's mood."""
    return len(steps) > 1 and not steps[-1].is_in_time and not steps[-2].is_in_time


def nearest_rank(values: Sequence[float], share: float) -> float:
    """The nearest-rank quantile; endless where there are no values: nothing came, that is not in time."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.inf
