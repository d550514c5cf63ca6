"""`Journal`: the session's side of the conversation's event log: what was said before, and what is added now."""

from dataclasses import replace
from datetime import UTC, datetime

from parley_gateway import faults
from parley_gateway.conversation import Event, Message, TurnCommitted, messages, next_reply_id, turn_count
from parley_gateway.ports import ConversationStore, OpenedConversation
from parley_servicekit.faults import Fault

# What the chat service takes is more; what a model can read at once is less.
_MESSAGE_MAX_COUNT = 400
_MESSAGE_MAX_BYTES = 32 * 1024
_MESSAGES_MAX_BYTES = 512 * 1024


class Journal:
    """One opened conversation. What is remembered counts here at once; `store` makes it safe."""

    def __init__(self, store: ConversationStore, opened: OpenedConversation) -> None:
        self.conversation = opened.conversation
        self._store = store
        self._fence = opened.fence
        self._events = list(opened.events)
        self._is_store_lost = False

    def remember(self, *events: Event) -> None:
        """Let events count for this session."""
        self._events.extend(events)

    async def store(self, *events: Event) -> Fault | None:
        """Add events to the stored log, all or none; or the fault, once, when the store begins to take none.

        Raises every other Fault.
        """
        try:
            await self._store.append(self.conversation.conversation_id, self._fence, events)
        except Fault as fault:
            if fault.reason != faults.STORE_UNAVAILABLE:
                raise
            was_lost, self._is_store_lost = self._is_store_lost, True
            return None if was_lost else fault
        self._is_store_lost = False
        return None

    def messages(self) -> list[Message]:
        """The history for the chat model: the latest of it, and of what is very long the end."""
        kept: list[Message] = []
        room_bytes = _MESSAGES_MAX_BYTES
        for message in reversed(messages(self._events)[-_MESSAGE_MAX_COUNT:]):
            end = message.text.encode()[-_MESSAGE_MAX_BYTES:]
            room_bytes -= len(end)
            if room_bytes < 0:
                break
            kept.append(replace(message, text=end.decode(errors="ignore")))
        return kept[::-1]

    @property
    def turn_count(self) -> int:
        """User turns so far."""
        return turn_count(self._events)

    @property
    def next_turn_id(self) -> int:
        """The first number that no turn of this conversation has."""
        return 1 + max(
            (
                int(event.turn_id)
                for event in self._events
                if isinstance(event, TurnCommitted) and event.turn_id.isdecimal()
            ),
            default=0,
        )

    @property
    def next_reply_id(self) -> int:
        """The first number that no reply of this conversation has."""
        return next_reply_id(self._events)

    def offset_ms(self, moment: datetime | None = None) -> int:
        """How long after the conversation's beginning `moment` (default now) is."""
        elapsed = (moment or datetime.now(UTC)) - self.conversation.create_time
        return max(0, round(elapsed.total_seconds() * 1000))
