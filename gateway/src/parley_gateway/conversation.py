"""What a conversation is: an event log, and what can be read from it. Pure; every layer above `turns` may
import it.

The session appends events through `ports.ConversationStore`; the stores keep them; `messages` folds them into
the history that the chat model reads, and `turns` into what HistoryService shows and exports.

Every event has a `key`, unique within one opening of a conversation: storing the same event twice keeps it
once. `turn_id` is unique within the conversation, and `reply_id` only grows within it: a session that
continues one begins after `turn_count(events)` and with `next_reply_id(events)`. Constructors raise
ValueError that names the field and never its content.
"""

import contextlib
import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime

from parley_gateway.turns.heard_text import HeardText, Phrase, WordStart

_CONVERSATION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9._:-]{0,100}")
# JSON readers in other languages keep whole numbers exactly up to here.
_NUMBER_MAX = 2**53 - 1
TITLE_MAX_CHARS = 200


class TurnSource(enum.Enum):
    """How a user turn came in."""

    SPOKEN = "spoken"
    TYPED = "typed"


class ReplyOutcome(enum.Enum):
    """How a reply ended."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Role(enum.Enum):
    """Who said something."""

    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class _Checked:
    """Refuses wrong types, negative numbers, naive times, text that is not Unicode and malformed ids."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if not _is_valid(each.name, each.type, getattr(self, each.name)):
                raise ValueError(f"{type(self).__name__}.{each.name} is not valid")


@dataclass(frozen=True, slots=True)
class Conversation(_Checked):
    """A stored conversation without its events. Belongs to `owner`, the name of the key that made it.

    Times are aware datetimes. persona and system_prompt: who answers; empty = not that way.
    """

    conversation_id: str
    owner: str
    create_time: datetime
    update_time: datetime
    title: str = ""
    persona: str = ""
    system_prompt: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SessionOpened(_Checked):
    """A connection began to carry on the conversation."""

    session_id: str
    create_time: datetime

    @property
    def key(self) -> str:
        """Unique within one opening."""
        return f"session/{self.session_id}"


@dataclass(frozen=True, slots=True)
class TurnCommitted(_Checked):
    """The person said or typed `text`. A higher revision of the same turn supersedes the lower one.

    conversation_offset_ms: when it was said, from the conversation's beginning.
    """

    turn_id: str
    revision: int
    text: str = field(repr=False)
    source: TurnSource
    create_time: datetime
    conversation_offset_ms: int

    @property
    def key(self) -> str:
        """Unique within one opening."""
        return f"turn/{self.turn_id}/{self.revision}"


@dataclass(frozen=True, slots=True)
class ReplyStarted(_Checked):
    """A reply began, to a turn or, when turn_id is empty, as a greeting.

    conversation_offset_ms: where its first sample lies, from the conversation's beginning, as far as known.
    """

    reply_id: int
    turn_id: str
    create_time: datetime
    conversation_offset_ms: int

    @property
    def key(self) -> str:
        """Unique within one opening."""
        return f"reply/{self.reply_id}"


@dataclass(frozen=True, slots=True)
class PhraseSpoken(_Checked):
    """Which audio of a reply says which text. Stored before that audio leaves.

    Offsets count from the reply's first sample. duration_ms is None until the phrase is whole; the
    event then comes again, and the later one counts.
    words: (offset in code points of the text, milliseconds from the reply's first sample) of each word's
    beginning.
    """

    reply_id: int
    index: int
    text: str = field(repr=False)
    start_offset_ms: int
    duration_ms: int | None
    words: tuple[tuple[int, int], ...] = ()

    @property
    def key(self) -> str:
        """Unique within one opening."""
        return f"phrase/{self.reply_id}/{self.index}/{self.duration_ms}/{len(self.words)}"


@dataclass(frozen=True, slots=True)
class PlaybackMarked(_Checked):
    """So much of a reply has been played, from its first sample. Only grows; about one a second is enough."""

    reply_id: int
    played_ms: int

    @property
    def key(self) -> str:
        """Unique within one opening."""
        return f"playback/{self.reply_id}/{self.played_ms}"


@dataclass(frozen=True, slots=True)
class ReplyEnded(_Checked):
    """A reply is over, once per reply. heard_text is what the conversation remembers of it."""

    reply_id: int
    outcome: ReplyOutcome
    heard_text: str = field(repr=False)
    played_ms: int

    @property
    def key(self) -> str:
        """Unique within one opening."""
        return f"ended/{self.reply_id}"


@dataclass(frozen=True, slots=True)
class Renamed(_Checked):
    """The conversation got another title. Written by the store's `rename`, never by a session."""

    title: str = field(repr=False)
    create_time: datetime

    @property
    def key(self) -> str:
        """Unique within one opening."""
        return f"renamed/{self.create_time.timestamp():.6f}"


Event = SessionOpened | TurnCommitted | ReplyStarted | PhraseSpoken | PlaybackMarked | ReplyEnded | Renamed


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the history that the chat model reads."""

    role: Role
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConversationTurn:
    """One thing said; of the assistant, what was heard. start_offset_ms: from the conversation's start."""

    role: Role
    text: str = field(repr=False)
    create_time: datetime
    start_offset_ms: int
    turn_id: str
    was_interrupted: bool = False


@dataclass(slots=True)
class _Reply:
    started: ReplyStarted
    phrases: dict[int, PhraseSpoken] = field(default_factory=dict)
    played_ms: int = 0
    ended: ReplyEnded | None = None

    def take_in(self, event: PhraseSpoken | PlaybackMarked | ReplyEnded) -> None:
        if isinstance(event, PhraseSpoken):
            self.phrases[event.index] = event
        elif isinstance(event, PlaybackMarked):
            self.played_ms = max(self.played_ms, event.played_ms)
        else:
            self.ended = event

    def heard_text(self) -> str:
        if self.ended is not None:
            return self.ended.heard_text
        heard = HeardText()
        for _, spoken in sorted(self.phrases.items()):
            words = tuple(WordStart(*word) for word in spoken.words)
            # A log from elsewhere may contradict itself: such a phrase counts as not heard.
            with contextlib.suppress(ValueError):
                heard.announce(
                    Phrase(spoken.index, spoken.text, spoken.start_offset_ms, spoken.duration_ms, words)
                )
        return heard.heard(self.played_ms)

    def turn(self) -> ConversationTurn:
        return ConversationTurn(
            Role.ASSISTANT,
            self.heard_text(),
            self.started.create_time,
            self.started.conversation_offset_ms,
            self.started.turn_id,
            was_interrupted=self.ended is None or self.ended.outcome is not ReplyOutcome.COMPLETED,
        )


@dataclass(slots=True)
class _UserTurn:
    latest: TurnCommitted

    def turn(self) -> ConversationTurn:
        event = self.latest
        return ConversationTurn(
            Role.USER, event.text, event.create_time, event.conversation_offset_ms, event.turn_id
        )


def turns(events: Sequence[Event]) -> list[ConversationTurn]:
    """Both sides in the order of the log; a turn once, with its latest revision, where it was first
    committed.

    A reply without an end (the gateway died, or it is still going on) counts with what its phrases and its
    last playback mark tell. What nobody heard is left out. Of two sessions that used the same number, because
    one was cut off from the store, both are kept.
    """
    user_turns: dict[str, _UserTurn] = {}
    replies: dict[int, _Reply] = {}
    order: list[_UserTurn | _Reply] = []
    for event in events:
        if isinstance(event, TurnCommitted):
            known = user_turns.get(event.turn_id)
            if known is not None and event.revision > known.latest.revision:
                known.latest = event
                continue
            user_turns[event.turn_id] = user_turn = _UserTurn(event)
            order.append(user_turn)
        elif isinstance(event, ReplyStarted):
            replies[event.reply_id] = reply = _Reply(event)
            order.append(reply)
        elif isinstance(event, PhraseSpoken | PlaybackMarked | ReplyEnded) and event.reply_id in replies:
            replies[event.reply_id].take_in(event)
    return [turn for turn in (entry.turn() for entry in order) if turn.text.strip()]


def messages(events: Sequence[Event]) -> list[Message]:
    """The history for the chat model, oldest first: what the person said, what they heard of each reply."""
    return [Message(turn.role, turn.text) for turn in turns(events)]


def turn_count(events: Sequence[Event]) -> int:
    """How many turns the person has taken, revisions not counted twice."""
    return len({event.turn_id for event in events if isinstance(event, TurnCommitted)})


def next_reply_id(events: Sequence[Event]) -> int:
    """The first `reply_id` that a session continuing this log may give; 1 for a new conversation."""
    return 1 + max((event.reply_id for event in events if isinstance(event, ReplyStarted)), default=0)


def is_conversation_id(text: str) -> bool:
    """Whether a conversation can be named so; a store answers CONVERSATION_NOT_FOUND to anything else."""
    return _CONVERSATION_ID.fullmatch(text) is not None


def _is_valid(name: str, kind: object, value: object) -> bool:
    if name == "words":
        return isinstance(value, tuple) and all(map(_is_word, value))
    if value is None:
        return name == "duration_ms"
    if kind is datetime:
        return isinstance(value, datetime) and value.tzinfo is not None
    if kind is str:
        return isinstance(value, str) and _is_text(name, value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return isinstance(value, kind)
    return _is_count(value)


def _is_word(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_count, value))


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _NUMBER_MAX


def _is_text(name: str, value: str) -> bool:
    if name == "conversation_id":
        return is_conversation_id(value)
    if name in ("session_id", "turn_id"):
        return _ID.fullmatch(value) is not None
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return name != "title" or len(value) <= TITLE_MAX_CHARS
