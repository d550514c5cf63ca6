"""How far listening to the person has got: part of `TurnTaker`'s state, used by it alone."""

from parley_gateway.turns.policy import TurnDetection, TurnPolicy


class Hearing:
    """Whether the person has the floor and how many final transcripts are due, with the deadlines of both.

    With push-to-talk, "speaking" means that it is pressed. Times are `at_ms` of events, offsets of the audio.
    """

    def __init__(self, policy: TurnPolicy) -> None:
        self._policy = policy
        self._started_at_ms: int | None = None
        self._paused_at_ms: int | None = None
        self._due_count = 0
        self._ended_at_ms = 0
        # Offsets of the last speech reported and of the last end of speech, and how far the audio is settled:
        # speech that began up to there was given up, and its transcript is void should it still come.
        self._latest_offset_ms = -1
        self._end_offset_ms = -1
        self._settled_offset_ms = -1

    @property
    def is_speaking(self) -> bool:
        """Whether the person has the floor."""
        return self._started_at_ms is not None

    @property
    def is_awaiting_final(self) -> bool:
        """Whether a final transcript is due."""
        return self._due_count > 0

    @property
    def is_busy(self) -> bool:
        """Whether the person may still have something to say in this turn."""
        return self.is_speaking or self.is_awaiting_final

    @property
    def flush_at_ms(self) -> int | None:
        """When the utterance has lasted, or the silence in it, as long as it may."""
        if self._started_at_ms is None:
            return None
        longest_ms = self._started_at_ms + self._policy.utterance_max_ms
        if self._paused_at_ms is None:
            return longest_ms
        return min(longest_ms, self._paused_at_ms + self._policy.end_silence_max_ms)

    @property
    def final_at_ms(self) -> int | None:
        """When the transcripts that are due are overdue."""
        return self._ended_at_ms + self._policy.final_deadline_ms if self.is_awaiting_final else None

    def note_offset(self, offset_ms: int, *, is_end: bool = False) -> None:
        """Remember how far the recogniser has reported."""
        self._latest_offset_ms = max(self._latest_offset_ms, offset_ms)
        if is_end:
            self._end_offset_ms = max(self._end_offset_ms, offset_ms)

    def start(self, at_ms: int) -> None:
        """The person takes the floor, or goes on after a pause."""
        if self._started_at_ms is None:
            self._started_at_ms = at_ms
        self._paused_at_ms = None

    def pause(self, at_ms: int) -> None:
        """The person falls silent and keeps the floor."""
        if self.is_speaking:
            self._paused_at_ms = at_ms

    def end(self, at_ms: int) -> None:
        """The person gives the floor back; a final transcript is due."""
        self.cut(at_ms)
        self._release()

    def cut(self, at_ms: int) -> None:
        """A final transcript is due although the person keeps the floor."""
        self._due_count += 1
        self._ended_at_ms = at_ms

    def take_final(self, start_offset_ms: int | None) -> bool:
        """Whether the final transcript of speech from `start_offset_ms` on counts.

        With an offset, unless that speech is settled already; without (None), when one is due. To
        push-to-talk both apply, because there the recogniser must not speak up by itself.
        """
        is_due = self._due_count > 0
        is_settled = start_offset_ms is not None and start_offset_ms <= self._settled_offset_ms
        needs_due = start_offset_ms is None or self._policy.detection is TurnDetection.PUSH_TO_TALK
        if is_settled or (needs_due and not is_due):
            return False
        if start_offset_ms is not None:
            self._settled_offset_ms = start_offset_ms
        self._due_count = max(0, self._due_count - 1)
        return True

    def lose(self) -> None:
        """The transcript that is due will not come; if none is, what is being said is lost."""
        if self._due_count:
            self._due_count -= 1
        else:
            self._release()

    def ignore(self) -> None:
        """Void the transcript of the speech that has just ended."""
        self._settled_offset_ms = max(self._settled_offset_ms, self._end_offset_ms)

    def give_up_finals(self) -> None:
        """Wait no longer for what is due; what is being said now goes on."""
        self._due_count = 0
        self.ignore()

    def drop(self) -> None:
        """Forget everything said so far."""
        self._release()
        self._due_count = 0
        self._settled_offset_ms = max(self._settled_offset_ms, self._latest_offset_ms)

    def _release(self) -> None:
        self._started_at_ms = None
        self._paused_at_ms = None
