"""`LineReader`: lines from bytes that come cut anywhere. Used by `model_server`.

Bounded, which general readers are not: a server that never ends a line must not fill our memory.
"""

LINE_MAX_BYTES = 1 << 20


class LineTooLong(Exception):  # noqa: N818 - what the sender did
    """A line is longer than `LINE_MAX_BYTES`."""


class LineReader:
    """Feed it bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> list[bytes]:
        r"""The lines that are whole after `received`, without `\n`, with any `\r`. Raises LineTooLong."""
        lines = (self._rest + received).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LINE_MAX_BYTES:
            raise LineTooLong
        return lines

    def finish(self) -> bytes:
        """What came after the last end of a line."""
        rest, self._rest = self._rest, b""
        return rest
