"""What has happened in a conversation: the input of `TurnTaker.handle`, fed by the session.

`at_ms` is when the session learnt of it: milliseconds on the session's own monotonic clock, which starts at
0. Audio offsets are a different line: milliseconds of audio from the first input sample of the session. A
person who is muted or types sends no audio, so nothing here derives one from the other. A list of these
events is a complete bug report: replayed, it gives the same actions.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at `at_ms` on the session's clock."""

    at_ms: int


# What the recogniser heard. It reports in the order of the audio, and follows every SpeechEnded and every
# FlushRecognition by exactly one TranscriptFinal or RecognitionFailed.


@dataclass(frozen=True, slots=True)
class SpeechStarted(Event):
    """A person began to speak, went on after a pause, or is still speaking after a discard.

    `offset_ms` is the first speech sample of that.
    """

    offset_ms: int


@dataclass(frozen=True, slots=True)
class SpeechPaused(Event):
    """The person fell silent, perhaps for a moment. `offset_ms` is the last speech sample."""

    offset_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnded(Event):
    """The utterance is over. `offset_ms` is its last speech sample."""

    offset_ms: int


@dataclass(frozen=True, slots=True)
class TranscriptPartial(Event):
    """What has been understood so far; the person may see it, no decision rests on it."""

    text: str


@dataclass(frozen=True, slots=True)
class TranscriptFinal(Event):
    """What has been understood of one utterance; empty when nothing was said.

    `language` is BCP-47, empty when not known. The offsets are the utterance's first and last speech sample,
    None (never 0) when the recogniser does not tell. By them a late transcript of speech given up before is
    known.
    """

    text: str
    language: str = ""
    start_offset_ms: int | None = None
    end_offset_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RecognitionFailed(Event):
    """The utterance whose transcript is due, else the current one, is lost. `reason` is a fault's reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class InputAudioStopped(Event):
    """The client has sent no audio for `TurnPolicy.end_silence_max_ms`; the recogniser cannot see that."""


# What the person asked for.


@dataclass(frozen=True, slots=True)
class TextReceived(Event):
    """A typed user turn."""

    text: str


@dataclass(frozen=True, slots=True)
class TurnStartRequested(Event):
    """Push-to-talk was pressed."""


@dataclass(frozen=True, slots=True)
class TurnEndRequested(Event):
    """Push-to-talk was released."""


@dataclass(frozen=True, slots=True)
class InterruptRequested(Event):
    """The person wants the current reply to stop."""


@dataclass(frozen=True, slots=True)
class GreetingRequested(Event):
    """The assistant shall speak first."""


@dataclass(frozen=True, slots=True)
class ConversationEnded(Event):
    """The person left or the session ends. Nothing happens after it."""


# What became of a reply. Those that name any reply but the current one change nothing.


@dataclass(frozen=True, slots=True)
class ReplyEvent(Event):
    """Something that happened to reply `reply_id`."""

    reply_id: int


@dataclass(frozen=True, slots=True)
class ReplyTextStarted(ReplyEvent):
    """The first text of the reply was written. In a text-only conversation: is about to be sent."""


@dataclass(frozen=True, slots=True)
class ReplyAudioStarted(ReplyEvent):
    """The first audio of the reply is about to be sent. Never fed between PauseReply and ResumeReply."""


@dataclass(frozen=True, slots=True)
class ReplyProgressed(ReplyEvent):
    """More text was written or more audio was sent; at least every second while that is so."""


@dataclass(frozen=True, slots=True)
class ReplyGenerationFinished(ReplyEvent):
    """All text is written and all audio is made: `total_duration_ms` of it, 0 in a text-only conversation."""

    total_duration_ms: int


@dataclass(frozen=True, slots=True)
class ReplyFailed(ReplyEvent):
    """The reply cannot go on. `reason` is a fault's reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class PlaybackReported(ReplyEvent):
    """The client has played `played_ms` of the reply in all."""

    played_ms: int


@dataclass(frozen=True, slots=True)
class PlaybackFinished(ReplyEvent):
    """All audio of the reply was sent and the client has played it, as far as the session can tell."""


# What the clock did.


@dataclass(frozen=True, slots=True)
class TimeAdvanced(Event):
    """It is `at_ms` now. Due at `TurnTaker.next_wake_ms`; an early or extra one does no harm."""
