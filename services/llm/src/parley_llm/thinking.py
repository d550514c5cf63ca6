"""`ThinkingFilter`: takes `<think>…</think>` out of a streamed answer. Used by `chat`, one for each answer.

Engines ask models not to think; some do so all the same, and a voice must not read it aloud.
"""

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkingFilter:
    """Feed it the pieces in order; what comes back, joined, is the answer without its thinking."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False
        self._swallow_space = False

    def feed(self, piece: str) -> str:
        """What may be told after this piece; empty while thinking or while a tag may be opening."""
        if not self._held and not self._inside and not self._swallow_space and "<" not in piece:
            return piece
        text = self._held + piece
        self._held = ""
        told: list[str] = []
        while text:
            if self._swallow_space:
                text = text.lstrip()
                self._swallow_space = not text
            tag = _CLOSE if self._inside else _OPEN
            before, found, after = text.partition(tag)
            if not found:
                self._held = _tail_that_may_open(text, tag)
                before = text[: len(text) - len(self._held)]
            if not self._inside:
                told.append(before)
            if not found:
                break
            self._swallow_space = self._inside
            self._inside = not self._inside
            text = after
        return "".join(told)

    def finish(self) -> str:
        """What was held back and turned out to be no tag. Thinking that never ended is dropped."""
        held, self._held = self._held, ""
        return "" if self._inside else held


def _tail_that_may_open(text: str, tag: str) -> str:
    """The longest end of `text` that is a beginning of `tag`."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:length]):
            return tag[:length]
    return ""
