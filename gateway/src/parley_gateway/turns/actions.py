"""What the session shall do: the output of `TurnTaker.handle`, carried out by the session in the order given.

`turn_id` and `reply_id` count within the session's conversation and only grow. Every StartReply is followed,
later, by exactly one CancelReply or FinishReply with its `reply_id`, and no other StartReply comes between.
"""

from dataclasses import dataclass
from enum import StrEnum


class CancelReason(StrEnum):
    """Why a reply was cut short. To the client each is the outcome INTERRUPTED, and none is an error."""

    SPEECH = "SPEECH"
    """The person spoke over it."""
    SUPERSEDED = "SUPERSEDED"
    """Nobody had perceived any of it when the person said more."""
    TEXT = "TEXT"
    """The person typed."""
    PUSH_TO_TALK = "PUSH_TO_TALK"
    """The person pressed push-to-talk."""
    REQUEST = "REQUEST"
    """The person asked to stop it."""
    CONVERSATION_ENDED = "CONVERSATION_ENDED"
    """The person left."""


class FinishOutcome(StrEnum):
    """How a reply ended that was not cancelled."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class ErrorReason(StrEnum):
    """The failures that the turn-taker itself finds. Those that services report keep their own reasons."""

    NO_SPEECH = "NO_SPEECH"
    """Push-to-talk was released, or `no_speech_timeout_ms` has passed, and nothing was said."""
    RECOGNITION_TIMEOUT = "RECOGNITION_TIMEOUT"
    """Speech ended and no final transcript came within `final_deadline_ms`."""
    REPLY_TIMEOUT = "REPLY_TIMEOUT"
    """Nothing of the reply could be heard (or read) within `turn_deadline_ms`."""
    REPLY_STALLED = "REPLY_STALLED"
    """A reply under way made no progress for `reply_stall_ms`."""
    REPLY_EMPTY = "REPLY_EMPTY"
    """The reply was over before there was anything to hear (or read)."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do now."""


@dataclass(frozen=True, slots=True)
class CommitTurn(Action):
    """The person's turn is `text`: store it and tell the client. Its StartReply is the next action.

    `revision` counts from 1; a higher one replaces the text of the lower one as a whole. The offsets are the
    first and last speech sample of the turn from the first input sample, None when typed or not known.
    `language` is BCP-47, empty when not known.
    """

    turn_id: int
    revision: int
    text: str
    language: str
    start_offset_ms: int | None
    end_offset_ms: int | None
    is_typed: bool


@dataclass(frozen=True, slots=True)
class StartReply(Action):
    """Begin to answer turn `turn_id`, or to greet when it is None."""

    reply_id: int
    turn_id: int | None


@dataclass(frozen=True, slots=True)
class PauseReply(Action):
    """Go on preparing the reply, but send none of its audio: the person spoke on before it was heard."""

    reply_id: int


@dataclass(frozen=True, slots=True)
class ResumeReply(Action):
    """Send the audio held back since PauseReply: the person said nothing more after all."""

    reply_id: int


@dataclass(frozen=True, slots=True)
class CancelReply(Action):
    """Stop the reply everywhere at once, send nothing more of it, record what was heard."""

    reply_id: int
    reason: CancelReason


@dataclass(frozen=True, slots=True)
class FinishReply(Action):
    """The reply is over: stop whatever of it still runs and record what was heard."""

    reply_id: int
    outcome: FinishOutcome


@dataclass(frozen=True, slots=True)
class FlushRecognition(Action):
    """Let the recogniser finish the utterance now; its final transcript, maybe empty, is awaited."""


@dataclass(frozen=True, slots=True)
class DiscardRecognition(Action):
    """Let the recogniser forget what it has heard of the current utterance and begin anew."""


@dataclass(frozen=True, slots=True)
class ReportError(Action):
    """Tell the client about a failure after which the session goes on.

    `reason` is an ErrorReason or the reason of a service's fault. The ids name what failed; None where that
    is neither a turn nor a reply.
    """

    reason: str
    turn_id: int | None = None
    reply_id: int | None = None
