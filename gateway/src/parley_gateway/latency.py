"""`LatencyMarks` and `Latency`: the critical path of a turn, cut into five consecutive segments. A leaf: pure."""

from dataclasses import dataclass

STAGES = ("endpointing", "asr.final", "llm.first_token", "tts.first_audio", "playback.first_audio")
"""The names that the segments have everywhere, in order."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Five consecutive segments in milliseconds; see parley.gateway.v1.Latency."""

    endpointing_ms: float
    asr_final_ms: float
    llm_first_token_ms: float
    tts_first_audio_ms: float
    playback_first_audio_ms: float

    def stages_ms(self) -> dict[str, float]:
        """The segments by the names they have everywhere."""
        segments = (
            self.endpointing_ms,
            self.asr_final_ms,
            self.llm_first_token_ms,
            self.tts_first_audio_ms,
            self.playback_first_audio_ms,
        )
        return dict(zip(STAGES, segments, strict=True))

    @property
    def voice_to_voice_ms(self) -> float:
        """Their sum."""
        return sum(self.stages_ms().values())


@dataclass(slots=True)
class LatencyMarks:
    """Moments of one turn on the session's clock, in milliseconds; None = has not happened.

    is_spoken: the person spoke the turn; a typed one has the same path, but says nothing about voices.
    """

    speech_end_at_ms: float
    utterance_end_at_ms: float
    transcript_at_ms: float
    first_token_at_ms: float | None = None
    first_speech_at_ms: float | None = None
    first_audio_at_ms: float | None = None
    is_spoken: bool = True

    def latency(self) -> Latency | None:
        """The segments; None while nothing is audible. Work done before its segment begins shows as 0."""
        if self.first_audio_at_ms is None:
            return None
        moments = [
            self.speech_end_at_ms,
            self.utterance_end_at_ms,
            self.transcript_at_ms,
            self.first_token_at_ms,
            self.first_speech_at_ms,
            self.first_audio_at_ms,
        ]
        segments: list[float] = []
        reached = self.speech_end_at_ms
        for moment in moments[1:]:
            until = min(max(reached, reached if moment is None else moment), self.first_audio_at_ms)
            segments.append(max(0.0, until - reached))
            reached = max(reached, until)
        return Latency(*segments)
