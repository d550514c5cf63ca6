"""How turns are taken in one conversation: made by the gateway from the client's config, for `TurnTaker`."""

from dataclasses import dataclass
from enum import StrEnum


class TurnDetection(StrEnum):
    """Who decides where a turn begins and ends."""

    AUTOMATIC = "AUTOMATIC"
    """The person speaks and falls silent."""
    PUSH_TO_TALK = "PUSH_TO_TALK"
    """The person presses and releases."""


class BargeIn(StrEnum):
    """What speech during an audible reply does. It never applies to push-to-talk, which always interrupts."""

    OFF = "OFF"
    """Nothing: that speech is ignored."""
    ON_ONSET = "ON_ONSET"
    """It ends the reply once it has lasted `min_barge_in_ms`."""
    JUDGED = "JUDGED"
    """It pauses the reply until it is clear whether it is meant as a turn. Refused in this version."""


class TurnPolicyError(ValueError):
    """A setting cannot be used. `field` names it as in TurnPolicy."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


# The range of every number: far enough apart for any sane use, narrow enough that nothing waits for ever.
_BOUNDS: dict[str, tuple[int, int]] = {
    "end_silence_min_ms": (100, 10_000),
    "end_silence_max_ms": (100, 10_000),
    "no_speech_timeout_ms": (0, 3_600_000),
    "min_barge_in_ms": (0, 2_000),
    "utterance_max_ms": (1_000, 600_000),
    "final_deadline_ms": (100, 60_000),
    "turn_deadline_ms": (100, 120_000),
    "reply_stall_ms": (100, 120_000),
    "playback_margin_ms": (0, 60_000),
    "turn_text_max_characters": (100, 100_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPolicy:
    """The settings of turn-taking. Raises TurnPolicyError when one is out of range or not available."""

    detection: TurnDetection = TurnDetection.AUTOMATIC
    barge_in: BargeIn = BargeIn.ON_ONSET
    speaks: bool = True
    """Whether replies are audio. If not, a reply is perceived by its text and over when that is written."""
    end_silence_min_ms: int = 600
    """Silence after which the recogniser ends an utterance; the session passes it on."""
    end_silence_max_ms: int = 2_000
    """A reported pause this long ends the utterance, whatever the recogniser thinks."""
    no_speech_timeout_ms: int = 0
    """Silence while listening that is reported, once, as NO_SPEECH; 0 = never. AUTOMATIC only."""
    min_barge_in_ms: int = 0
    """How long speech must last to end an audible reply."""
    utterance_max_ms: int = 120_000
    """An utterance this long is ended, so that steady noise cannot hold the turn for ever."""
    final_deadline_ms: int = 5_000
    """From the end of speech to its final transcript, at most."""
    turn_deadline_ms: int = 5_000
    """From a committed turn to the first audio (or text) of its reply, at most."""
    reply_stall_ms: int = 10_000
    """How long a reply under way may make no progress."""
    playback_margin_ms: int = 1_500
    """How much later than the clock says a client may have played a reply that it does not report on."""
    turn_text_max_characters: int = 8_000
    """A turn is not revised beyond this length; what is said then makes a new turn."""

    def __post_init__(self) -> None:
        for field, (low, high) in _BOUNDS.items():
            value = getattr(self, field)
            if type(value) is not int or not low <= value <= high:
                raise TurnPolicyError(field, f"must be an integer from {low} to {high}")
        if self.end_silence_max_ms < self.end_silence_min_ms:
            raise TurnPolicyError("end_silence_max_ms", "must not be less than end_silence_min_ms")
        if self.barge_in is BargeIn.JUDGED:
            raise TurnPolicyError("barge_in", "JUDGED is not available in this version")
