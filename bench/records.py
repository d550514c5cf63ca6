"""What a person of the benchmark noted: `SessionRecord`, `TurnRecord`, `Refusal`. Made by `bench.person`.

Moments are seconds of the machine's monotonic clock, the same in all its processes.
"""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class TurnRecord:
    """One spoken turn and what came of it. index: which one of the session's plan.

    speech_end_at_s: the frame with the last labelled speech sample was sent; first_audio_at_s: the first reply sample
    that is not silent came (with its place in its chunk); heard_text: the text of the turn as committed.
    """

    index: int
    onset_at_s: float
    speech_end_at_s: float | None = None
    committed_at_s: float | None = None
    heard_text: str = ""
    first_audio_at_s: float | None = None
    last_audio_at_s: float | None = None
    reply_audio_ms: float = 0.0
    ended_at_s: float | None = None
    outcome: str = ""
    stages_ms: dict[str, float] = field(default_factory=dict)

    @property
    def voice_to_voice_ms(self) -> float | None:
        """Last speech sample to first reply sample on the client's clock; None while one of them is missing."""
        if self.first_audio_at_s is None or self.speech_end_at_s is None:
            return None
        return (self.first_audio_at_s - self.speech_end_at_s) * 1000


@dataclass(slots=True)
class Refusal:
    """A session that was not let in. after_ms: since it asked; retry_after_ms: None where no hint came with it."""

    reason: str
    after_ms: float
    retry_after_ms: int | None


@dataclass(slots=True)
class SessionRecord:
    """One session from its opening to its end.

    frame_lateness_ms: of every message with reply audio, against the pace of the reply's first one, the gateway's lead
    of 300 ms taken off. gaps_ms: silences that a listener heard within a reply. send_lateness_ms: how late this client
    sent its own frames, which tells whether the client is to be trusted. errors: reasons of `error` events;
    ended_by: the reason of a stream that broke, empty for one that ended as planned.
    """

    index: int
    opened_at_s: float
    ready_at_s: float | None = None
    ended_at_s: float | None = None
    conversation_id: str = ""
    refusal: Refusal | None = None
    ended_by: str = ""
    turns: list[TurnRecord] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    sent_frame_count: int = 0
    frame_lateness_ms: list[float] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    send_lateness_ms: list[float] = field(default_factory=list)
    reply_audio_ms: float = 0.0

    def forget_times(self) -> None:
        """What came before counts no more: lateness, gaps and reply audio."""
        self.reply_audio_ms = 0.0
        for times in (self.frame_lateness_ms, self.gaps_ms, self.send_lateness_ms):
            times.clear()

    def to_json(self) -> dict[str, Any]:
        """For another process; see `record_from_json`."""
        return asdict(self)


def record_from_json(read: dict[str, Any]) -> SessionRecord:
    """What `SessionRecord.to_json` wrote."""
    refusal = read["refusal"]
    turns = [TurnRecord(**turn) for turn in read["turns"]]
    return SessionRecord(**{**read, "refusal": Refusal(**refusal) if refusal else None, "turns": turns})
