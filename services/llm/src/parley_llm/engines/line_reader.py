"""`EventReader`: server-sent events from bytes, as OpenAI-compatible servers stream them. Used by `chat_completions`.

Bounded, which general readers are not: a server that never ends a line must not fill our memory.
"""

EVENT_MAX_BYTES = 1 << 20


class EventTooLong(Exception):  # noqa: N818 - what the sender did
    """An event is longer than `EVENT_MAX_BYTES`."""


class EventReader:
    """Feed it bytes as they come, cut anywhere; it gives each event's data.

    Reads what the WHATWG's "Server-sent events" says of `data`, comments and line ends; other fields do not matter
    here. One exception: an event counts once its line is whole where it is a single line, so that no token waits
    for the blank line after it.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> list[bytes]:
        """The data lines that are complete after `received`. Raises EventTooLong."""
        lines = (self._rest + received).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > EVENT_MAX_BYTES:
            raise EventTooLong
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]
