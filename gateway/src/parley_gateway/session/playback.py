"""`PlayoutClock`: how much of a reply has left, has been played, and when the next audio may leave. Pure.

The session owns one for each reply with audio. Times are the session's monotonic milliseconds.
"""

LEAD_MAX_MS = 300.0
"""Audio leaves at most so far ahead of its playing, or a barge-in could not take it back."""
# A shorter gap is the lateness of a timer, which a client's own buffer hides.
_GAP_MIN_MS = 10.0


class PlayoutClock:
    """Playing starts with the first audio, goes in real time and waits where the buffer runs dry.

    A client that reports what it has really played is believed as far as that is possible: never more than was sent.
    """

    def __init__(self) -> None:
        self.sent_ms = 0.0
        self.has_reports = False
        self.gaps_ms: list[float] = []
        """How long each time the buffer was dry, by this clock."""
        self._reported_underrun_count = 0
        self._piece_count = 0
        self._anchor_at_ms = 0.0  # when `_anchor_ms` of the reply had been played
        self._anchor_ms = 0.0
        self._reported_ms = 0.0

    def sent(self, duration_ms: float, at_ms: float) -> None:
        """So much more audio left at this moment."""
        position_ms = self.position_ms(at_ms)
        if position_ms >= self.sent_ms:
            dry_since_ms = self._anchor_at_ms + self.sent_ms - self._anchor_ms
            if self.sent_ms > 0 and at_ms - dry_since_ms >= _GAP_MIN_MS:
                self.gaps_ms.append(at_ms - dry_since_ms)
            self._anchor_at_ms, self._anchor_ms = at_ms, self.sent_ms
        self._piece_count += 1
        self.sent_ms += duration_ms

    def reported(self, played_ms: float, at_ms: float, underrun_count: int = 0) -> None:
        """The client says that so much has been played by now. Less than it said before counts as before."""
        self.has_reports = True
        self._reported_underrun_count = max(self._reported_underrun_count, underrun_count)
        self._reported_ms = max(self._reported_ms, min(played_ms, self.sent_ms))
        if (
            min(self._reported_ms, self.position_ms(at_ms)) < self.sent_ms
        ):  # else it stays dry since when it was
            self._anchor_at_ms, self._anchor_ms = at_ms, self._reported_ms

    @property
    def underrun_count(self) -> int:
        """How often audio ran dry: what the client reports, or more where this clock knows of more.

        A client cannot make it more than there was audio to run dry in between.
        """
        return max(len(self.gaps_ms), min(self._reported_underrun_count, self._piece_count))

    def position_ms(self, at_ms: float) -> float:
        """Where playing is by now, as far as can be told: real time since the last thing known."""
        return min(self.sent_ms, self._anchor_ms + max(0.0, at_ms - self._anchor_at_ms))

    def heard_ms(self, at_ms: float) -> float:
        """What has surely been played: the client's last report if there is one, else the position."""
        return self._reported_ms if self.has_reports else self.position_ms(at_ms)

    def wait_ms(self, duration_ms: float, at_ms: float) -> float:
        """How long the next audio, of this length, has to wait so that at most LEAD_MAX_MS lie ahead; 0 = it may leave.

        Audio that is longer than that by itself leaves when everything before it has been played.
        """
        rest_ms = self.rest_ms(at_ms)
        return max(0.0, min(rest_ms, rest_ms + duration_ms - LEAD_MAX_MS))

    def rest_ms(self, at_ms: float) -> float:
        """How long what was sent goes on playing."""
        return max(0.0, self.sent_ms - self.position_ms(at_ms))
