"""How far a reply has got: part of `TurnTaker`'s state, used by it alone."""

from dataclasses import dataclass

from parley_gateway.turns import events
from parley_gateway.turns.actions import ErrorReason
from parley_gateway.turns.policy import TurnPolicy


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """A reply is over: completed, or failed for the reason `failure`."""

    failure: str | None = None


class ReplyProgress:
    """The current reply. Perceptible: the person hears it or, in a text-only conversation, reads it.

    Times are `at_ms` of events; durations count from the reply's first sample.
    """

    def __init__(self, policy: TurnPolicy, reply_id: int, turn_id: int | None, at_ms: int) -> None:
        self.reply_id = reply_id
        self.turn_id = turn_id
        self.is_paused = False
        self._policy = policy
        # Start of the wait for something perceptible; from then on, the last progress.
        self._progressed_at_ms = at_ms
        self._perceptible_at_ms: int | None = None
        self._total_duration_ms: int | None = None
        self._finished_at_ms = 0
        self._played_ms = 0
        self._played_at_ms = 0

    @property
    def is_perceptible(self) -> bool:
        """Whether the person has perceived something of it."""
        return self._perceptible_at_ms is not None

    @property
    def is_made(self) -> bool:
        """Whether all of its audio is made."""
        return self._total_duration_ms is not None

    @property
    def deadline_ms(self) -> int | None:
        """When it must have become perceptible, gone on, or been played; None while it is held back."""
        if self.is_paused:
            return None
        if self._perceptible_at_ms is None:
            return self._progressed_at_ms + self._policy.turn_deadline_ms
        if self._total_duration_ms is None:
            return self._progressed_at_ms + self._policy.reply_stall_ms
        by_clock_ms = self._perceptible_at_ms + self._total_duration_ms
        by_report_ms = self._played_at_ms + max(0, self._total_duration_ms - self._played_ms)
        return max(by_clock_ms, by_report_ms, self._finished_at_ms) + self._policy.playback_margin_ms

    def end_at_deadline(self) -> ReplyEnd:
        """What the deadline makes of it."""
        if not self.is_perceptible:
            return ReplyEnd(ErrorReason.REPLY_TIMEOUT)
        return ReplyEnd() if self.is_made else ReplyEnd(ErrorReason.REPLY_STALLED)

    def resume(self, at_ms: int) -> None:
        """The person waits for it again."""
        self.is_paused = False
        self._progressed_at_ms = at_ms

    def take_in(self, event: events.ReplyEvent, at_ms: int) -> ReplyEnd | None:
        """Take in what happened to it; the answer is its end, or None while it goes on."""
        match event:
            case events.ReplyTextStarted() if not self._policy.speaks:
                self._become_perceptible(at_ms)
            case events.ReplyAudioStarted() if self._policy.speaks:
                self._become_perceptible(at_ms)
            case events.ReplyProgressed() if self.is_perceptible:
                self._progressed_at_ms = at_ms
            case events.PlaybackReported(played_ms=played_ms) if self.is_perceptible:
                self._report_played(played_ms, at_ms)
            case events.PlaybackFinished() if self.is_perceptible and self.is_made:
                return ReplyEnd()
            case events.ReplyGenerationFinished(total_duration_ms=total_duration_ms):
                return self._finish_generation(total_duration_ms, at_ms)
            case events.ReplyFailed(reason=reason):
                return ReplyEnd(reason)
        return self._end_if_played()

    def _become_perceptible(self, at_ms: int) -> None:
        if self._perceptible_at_ms is None:
            self._perceptible_at_ms = self._played_at_ms = at_ms
        self._progressed_at_ms = at_ms

    def _report_played(self, played_ms: int, at_ms: int) -> None:
        if played_ms > self._played_ms:
            self._played_ms, self._played_at_ms, self._progressed_at_ms = played_ms, at_ms, at_ms

    def _finish_generation(self, total_duration_ms: int, at_ms: int) -> ReplyEnd | None:
        if not self.is_perceptible and (total_duration_ms <= 0 or not self._policy.speaks):
            return ReplyEnd(ErrorReason.REPLY_EMPTY)
        if not self._policy.speaks:
            return ReplyEnd()
        self._total_duration_ms = total_duration_ms
        self._finished_at_ms = at_ms
        return self._end_if_played()

    def _end_if_played(self) -> ReplyEnd | None:
        # A reply that is not perceptible yet has not been played, and what is made of it is longer than nothing.
        total_duration_ms = self._total_duration_ms
        is_played = total_duration_ms is not None and self._played_ms >= total_duration_ms
        return ReplyEnd() if is_played else None
