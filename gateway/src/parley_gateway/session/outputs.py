"""What a session tells its client, in domain words. Made by the session, put on the wire by the entrypoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from parley_gateway.conversation import ReplyOutcome
from parley_gateway.latency import Latency
from parley_gateway.ports import Audio, Phrase, Word
from parley_servicekit.faults import Fault


@dataclass(frozen=True, slots=True)
class Ready:
    """The session is open."""

    conversation_id: str
    session_id: str
    turn_count: int


@dataclass(frozen=True, slots=True)
class InputAcknowledged:
    """Input up to offset_ms is safe."""

    offset_ms: float


@dataclass(frozen=True, slots=True)
class SpeechActivity:
    """kind: STARTED, PAUSED or ENDED at offset_ms of the input."""

    kind: str
    offset_ms: float


@dataclass(frozen=True, slots=True)
class TranscriptOutput:
    """What has been understood so far."""

    turn_id: str
    text: str
    is_final: bool
    stability: float
    language_code: str
    words: Sequence[Word] = ()


@dataclass(frozen=True, slots=True)
class TurnCommittedOutput:
    """A turn is stored."""

    turn_id: str
    revision: int
    text: str
    create_time: datetime
    conversation_offset_ms: int


@dataclass(frozen=True, slots=True)
class ReplyStartedOutput:
    """A reply begins."""

    reply_id: int
    turn_id: str


@dataclass(frozen=True, slots=True)
class ReplyText:
    """The next piece of a reply's text."""

    reply_id: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyPhrase:
    """Which audio of the reply says which text."""

    reply_id: int
    phrase: Phrase


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """The next audio of the reply."""

    reply_id: int
    audio: Audio


@dataclass(frozen=True, slots=True)
class ReplyEndedOutput:
    """A reply is over. latency is None where nothing became audible."""

    reply_id: int
    outcome: ReplyOutcome
    heard_text: str
    latency: Latency | None
    prompt_token_count: int
    completion_token_count: int
    audio_ms: float
    played_ms: float


@dataclass(frozen=True, slots=True)
class ServiceLevelOutput:
    """Which step of the degradation ladder is in force; 0 = everything works."""

    level: int
    reason: str


@dataclass(frozen=True, slots=True)
class ErrorOutput:
    """Something failed; the session goes on unless fatal."""

    fault: Fault
    turn_id: str = ""
    reply_id: int = 0
    is_fatal: bool = False


@dataclass(frozen=True, slots=True)
class DrainingOutput:
    """The gateway goes away; reconnect before `deadline`."""

    deadline: datetime


Output = (
    Ready
    | InputAcknowledged
    | SpeechActivity
    | TranscriptOutput
    | TurnCommittedOutput
    | ReplyStartedOutput
    | ReplyText
    | ReplyPhrase
    | ReplyAudio
    | ReplyEndedOutput
    | ServiceLevelOutput
    | ErrorOutput
    | DrainingOutput
)
