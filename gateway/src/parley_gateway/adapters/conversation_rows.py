"""How conversations and events look at rest, the same in every store: JSON rows, sort keys, pages, limits.

Used by the stores of this package. A row of a kind or form that a newer version wrote is passed over, so that
an older gateway can go on with the conversation; a row that cannot be understood at all is the fault
STORE_CORRUPT.
"""

import asyncio
import base64
import binascii
import contextlib
import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from parley_gateway import faults
from parley_gateway.conversation import (
    Conversation,
    Event,
    PhraseSpoken,
    PlaybackMarked,
    Renamed,
    ReplyEnded,
    ReplyStarted,
    SessionOpened,
    TurnCommitted,
    is_conversation_id,
)
from parley_gateway.ports import ConversationPage
from parley_servicekit.faults import Fault

_VERSION = 1
_KINDS: dict[str, type[Event]] = {
    "session_opened": SessionOpened,
    "turn_committed": TurnCommitted,
    "reply_started": ReplyStarted,
    "phrase_spoken": PhraseSpoken,
    "playback_marked": PlaybackMarked,
    "reply_ended": ReplyEnded,
    "renamed": Renamed,
}
_KIND_NAMES = {kind: name for name, kind in _KINDS.items()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# No event limit goes beyond this, so a longer row is not ours.
_ROW_MAX_BYTES = 1024 * 1024
# About 1 ms of decoding on one core; more goes to a thread, off the event loop.
_DECODE_ON_LOOP_MAX_BYTES = 32 * 1024
_PAGE_TOKEN_MAX_CHARS = 200
PAGE_MAX_COUNT = 1000
# Kept beside the row, because they change.
_BESIDE = frozenset({"title", "update_time"})
_T = TypeVar("_T", bound=Event | Conversation)


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What one conversation may take (EVENT_TOO_LARGE, CONVERSATION_FULL) and how long it is kept unused."""

    event_max_bytes: int = 64 * 1024
    # About 800 spoken exchanges with a playback mark a second.
    conversation_max_count: int = 10_000
    # What `open` returns is held in memory at once.
    conversation_max_bytes: int = 8 * 1024 * 1024
    time_to_live_ms: int = 30 * 24 * 3600 * 1000

    def __post_init__(self) -> None:
        if (
            min(getattr(self, each.name) for each in fields(self)) < 1
            or self.event_max_bytes > _ROW_MAX_BYTES
        ):
            raise ValueError("limits of a store are positive, an event at most 1 MiB")


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as it is stored: its key with the fence of its writer, and its JSON."""

    key: str
    body: bytes


def now_utc() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def to_microseconds(time: datetime) -> int:
    """Microseconds since 1970; negative times count as 0, so that sort keys stay in order."""
    return max(0, (time - _EPOCH) // timedelta(microseconds=1))


def event_rows(fence: int, events: Sequence[Event], limits: StoreLimits) -> list[EventRow]:
    """Raises EVENT_TOO_LARGE. Keys hold the fence: sessions that know nothing of each other never collide."""
    rows = [EventRow(f"{fence}/{event.key}", to_json(event)) for event in events]
    if any(len(row.body) > limits.event_max_bytes for row in rows):
        raise faults.event_too_large()
    return rows


def conversation_row(conversation: Conversation, limits: StoreLimits) -> bytes:
    """Raises EVENT_TOO_LARGE. Every store keeps title and update_time beside the row, since they change."""
    lasting = {name: value for name, value in _plain_fields(conversation).items() if name not in _BESIDE}
    body = _dump({"version": _VERSION, **lasting})
    if len(body) > limits.event_max_bytes:
        raise faults.event_too_large()
    return body


def conversation_from_row(body: bytes, title: str, update_us: int) -> Conversation:
    """Raises STORE_CORRUPT."""
    raw = _load(body)
    return _build(Conversation, {**raw, "title": title, "update_time": update_us})


def to_json(event: Event) -> bytes:
    """One line of UTF-8 JSON without a line break."""
    return _dump({"kind": _KIND_NAMES[type(event)], "version": _VERSION, **_plain_fields(event)})


def from_json(body: bytes) -> Event | None:
    """None for an event that only a newer version understands. Raises STORE_CORRUPT."""
    raw = _load(body)
    kind = raw.get("kind")
    version = raw.get("version")
    if not isinstance(kind, str) or type(version) is not int or version < 1:
        raise faults.store_corrupt("event-envelope")
    if kind not in _KINDS:
        return None
    try:
        return _build(_KINDS[kind], raw)
    except Fault:
        if version > _VERSION:
            return None
        raise


async def events_from_rows(bodies: Sequence[bytes]) -> tuple[Event, ...]:
    """The events in order, unknown ones left out. Raises STORE_CORRUPT."""
    if sum(map(len, bodies)) <= _DECODE_ON_LOOP_MAX_BYTES:
        return _events(bodies)
    return await asyncio.to_thread(_events, bodies)


def sort_key(conversation: Conversation) -> str:
    """Orders conversations by the time of their creation, then by their name."""
    return f"{to_microseconds(conversation.create_time):017d}:{conversation.conversation_id}"


def conversation_id_of(key: str) -> str:
    """The conversation that a sort key is of."""
    return key.partition(":")[2]


def page_of(found: Sequence[tuple[str, bytes, str, int]], count: int) -> ConversationPage:
    """A page of the first `count` of (sort key, row, title, update_us); damaged ones are left out."""
    shown = found[:count]
    token = ""
    if len(found) > count:
        token = base64.urlsafe_b64encode(shown[-1][0].encode()).decode().rstrip("=")
    conversations = []
    for _, body, title, update_us in shown:
        with contextlib.suppress(Fault):
            conversations.append(conversation_from_row(body, title, update_us))
    return ConversationPage(tuple(conversations), token)


def last_key_of(token: str) -> str | None:
    """The sort key in a page token, None for the empty one. Raises PAGE_TOKEN_INVALID."""
    if not token:
        return None
    if len(token) > _PAGE_TOKEN_MAX_CHARS:
        raise faults.page_token_invalid()
    try:
        key = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise faults.page_token_invalid() from None
    time_us, _, conversation_id = key.partition(":")
    if len(time_us) != 17 or not time_us.isdecimal() or not is_conversation_id(conversation_id):
        raise faults.page_token_invalid()
    return key


def page_count(page_size: int) -> int:
    """The page size in force: 1 to 1000."""
    return min(max(page_size, 1), PAGE_MAX_COUNT)


def _events(bodies: Sequence[bytes]) -> tuple[Event, ...]:
    return tuple(event for event in map(from_json, bodies) if event is not None)


def _plain_fields(value: Event | Conversation) -> dict[str, Any]:
    return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return to_microseconds(value)
    return value.value if isinstance(value, enum.Enum) else value


def _dump(raw: dict[str, Any]) -> bytes:
    return json.dumps(raw, ensure_ascii=False, separators=(",", ":")).encode()


def _load(body: bytes) -> dict[str, Any]:
    if len(body) > _ROW_MAX_BYTES:
        raise faults.store_corrupt("row-size")
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise faults.store_corrupt("row-json") from None
    if not isinstance(raw, dict):
        raise faults.store_corrupt("row-type")
    return raw


def _build(kind: type[_T], raw: dict[str, Any]) -> _T:
    known: dict[str, Any] = {}
    for each in fields(kind):
        if each.name in raw:
            known[each.name] = _from_plain(each.type, raw[each.name])
    try:
        return kind(**known)
    except (TypeError, ValueError):
        raise faults.store_corrupt("row-fields") from None


def _from_plain(kind: object, value: object) -> object:
    """The constructors check types; here only what JSON cannot hold is turned back."""
    try:
        if kind is datetime and type(value) is int:
            return _EPOCH + timedelta(microseconds=value)
        if isinstance(value, list):
            return tuple(tuple(word) if isinstance(word, list) else word for word in value)
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return kind(value)
    except (ValueError, OverflowError):
        raise faults.store_corrupt("row-value") from None
    return value
