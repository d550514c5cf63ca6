"""What the person has heard of a reply: played audio mapped to text.

The session makes one `HeardText` per reply, announces every phrase before its audio is sent, and asks for the
text heard so far when the reply ends. Times are milliseconds from the reply's first sample; character offsets
count Unicode code points.
"""

import unicodedata
from dataclasses import dataclass

from parley_gateway.turns.text_joining import is_unspaced, join_texts


@dataclass(frozen=True, slots=True)
class WordStart:
    """The word at `text_offset` of its phrase's text begins to sound at `start_ms` of the reply."""

    text_offset: int
    start_ms: int


@dataclass(frozen=True, slots=True)
class Phrase:
    """One phrase of a reply and where its audio lies.

    `duration_ms` is None while the audio is still being made. `words` may be empty; else they ascend in both
    text and time. Raises ValueError (never quoting the text) when a number makes no sense.
    """

    index: int
    text: str
    start_ms: int
    duration_ms: int | None
    words: tuple[WordStart, ...] = ()

    def __post_init__(self) -> None:
        if self.index < 0 or self.start_ms < 0 or (self.duration_ms is not None and self.duration_ms < 0):
            raise ValueError("a phrase has a negative index, start or duration")
        earlier: WordStart | None = None
        for word in self.words:
            if not 0 <= word.text_offset < len(self.text):
                raise ValueError("a word of a phrase lies outside its text")
            if earlier is not None and (
                word.text_offset <= earlier.text_offset or word.start_ms < earlier.start_ms
            ):
                raise ValueError("the words of a phrase do not ascend")
            earlier = word


class HeardText:
    """The phrases of one reply and how much of their text a given length of played audio has said."""

    def __init__(self) -> None:
        self._phrases: list[Phrase] = []

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """All phrases announced so far, in order, each as announced last."""
        return tuple(self._phrases)

    @property
    def full_text(self) -> str:
        """The text of all phrases, without white space at its end."""
        return _joined([phrase.text for phrase in self._phrases])

    @property
    def total_duration_ms(self) -> int:
        """Where the last phrase ends, or begins while its duration is not known; 0 without phrases."""
        if not self._phrases:
            return 0
        last = self._phrases[-1]
        return last.start_ms + (last.duration_ms or 0)

    def announce(self, phrase: Phrase) -> None:
        """Append a phrase, or announce the last one again with its duration or words.

        Indices ascend, with gaps where a phrase could not be spoken. Raises ValueError when a phrase comes
        out of order or says something else than before.
        """
        if self._phrases:
            last = self._phrases[-1]
            if phrase.index == last.index:
                if (phrase.text, phrase.start_ms) != (last.text, last.start_ms):
                    raise ValueError("a phrase was announced again with another text or start")
                self._phrases[-1] = phrase
                return
            if phrase.index < last.index or phrase.start_ms < last.start_ms:
                raise ValueError("a phrase was announced out of order")
        self._phrases.append(phrase)

    def heard(self, played_ms: int) -> str:
        """The text that `played_ms` of audio has said, up to its last whole word, without white space behind.

        Always a beginning of `full_text`, never shorter for more audio, empty at 0. A phrase of which neither
        the end nor any word's place is known counts as not heard: better too little than what nobody heard.
        """
        if played_ms <= 0:
            return ""
        pieces: list[str] = []
        for position, phrase in enumerate(self._phrases):
            end_ms = self._end_ms(position)
            if end_ms is not None and end_ms <= played_ms:
                pieces.append(phrase.text)
                continue
            if played_ms > phrase.start_ms:
                pieces.append(phrase.text[: _heard_length(phrase, end_ms, played_ms)])
            break
        return _joined(pieces)

    def _end_ms(self, position: int) -> int | None:
        phrase = self._phrases[position]
        if phrase.duration_ms is not None:
            return phrase.start_ms + phrase.duration_ms
        if position + 1 < len(self._phrases):
            return self._phrases[position + 1].start_ms
        return None


def _joined(pieces: list[str]) -> str:
    text = ""
    for piece in pieces:
        text = join_texts(text, piece)
    return text.rstrip()


def _heard_length(phrase: Phrase, end_ms: int | None, played_ms: int) -> int:
    """Characters of a phrase in the middle of its audio that have been said wholly."""
    if phrase.words:
        # A word is over where the next one begins; before the second word begins, none is.
        begun = [word.text_offset for word in phrase.words if word.start_ms <= played_ms]
        return begun[-1] if len(begun) > 1 else 0
    if end_ms is None:
        return 0
    length = len(phrase.text) * (played_ms - phrase.start_ms) // (end_ms - phrase.start_ms)
    while length > 0 and not _is_word_end(phrase.text, length):
        length -= 1
    return length


def _is_word_end(text: str, length: int) -> bool:
    """Whether `text[:length]`, shorter than the text, ends with a word, or a character of an unspaced script."""
    before, after = text[length - 1], text[length]
    if after.isspace():
        return True
    if unicodedata.category(after).startswith("M"):
        return False  # A combining mark belongs to the character before it.
    return is_unspaced(before) or is_unspaced(after)
