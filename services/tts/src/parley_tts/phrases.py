"""`PhraseCutter`: text as a model writes it, to phrases that a voice can speak. Pure. Called by `synthesis`.

The first phrase is short (a clause, or some words before a conjunction) so that speech begins early; later
ones are sentences, of bounded length. Phrases are a function of the text alone, not of how it was delivered:
after any pieces that add up to a text, the same phrases have come out, and their texts add up to the text.
"""

import unicodedata
from dataclasses import dataclass

from parley_tts.boundaries import CONJUNCTIONS, Boundary, Judgement, is_unspaced, judge
from parley_tts.speakable import Spoken, is_emoji, to_spoken

# Length in units: a letter of a spaced script is 1, a Han or kana character 3 (it takes that long to say).
FIRST_PHRASE_MAX_UNITS = 80
PHRASE_MAX_UNITS = 220
_UNSPACED_UNITS = 3
# What a boundary may need to see behind it; what lies further ahead decides nothing.
_LOOKAHEAD_CHARS = 48
_FIRST_CLAUSE_MIN_WORDS = 2
_FIRST_CONJUNCTION_MIN_WORDS = 4
_COMPACT_AT_CHARS = 1 << 16


@dataclass(frozen=True)
class Phrase:
    """A piece of the text. text: as written; spoken: what is to be said of it (empty: nothing)."""

    index: int
    text: str
    spoken: Spoken
    ends_sentence: bool


@dataclass(frozen=True)
class _Cut:
    end: int
    ends_sentence: bool


class PhraseCutter:
    """`push` what was written, take phrases with `next_phrase` until it gives None; `finish` at the end.

    A call costs at most a few hundred characters' work, whatever was pushed.
    """

    def __init__(self) -> None:
        self._text = ""
        self._start = 0
        self._index = 0
        self._has_spoken = False
        self._is_finished = False

    @property
    def pending_chars(self) -> int:
        """Characters pushed and not yet part of a phrase."""
        return len(self._text) - self._start

    @property
    def is_exhausted(self) -> bool:
        """Nothing more will come: finished, and every phrase was taken."""
        return self._is_finished and self.pending_chars == 0

    def push(self, delta: str) -> None:
        """Append text. Raises RuntimeError after `finish`."""
        if self._is_finished:
            raise RuntimeError("the text is finished")
        if self._start >= _COMPACT_AT_CHARS or self._start == len(self._text):
            self._text, self._start = self._text[self._start :], 0
        self._text += delta

    def finish(self) -> None:
        """Nothing more is written; what is left becomes phrases."""
        self._is_finished = True

    def next_phrase(self) -> Phrase | None:
        """The next whole phrase, or None while it has to wait for more text (or nothing is left)."""
        if self.pending_chars == 0:
            return None
        max_units = PHRASE_MAX_UNITS if self._has_spoken else FIRST_PHRASE_MAX_UNITS
        window_end = self._start + max_units + _LOOKAHEAD_CHARS
        window = self._text[self._start : window_end]
        is_full = len(window) == max_units + _LOOKAHEAD_CHARS
        is_final = self._is_finished and not is_full
        cut = _Scan(
            window, max_units, is_first=not self._has_spoken, is_final=is_final, is_full=is_full
        ).run()
        if cut is None:
            return None
        text = window[: cut.end]
        self._start += cut.end
        phrase = Phrase(self._index, text, to_spoken(text), cut.ends_sentence)
        self._index += 1
        self._has_spoken = self._has_spoken or bool(phrase.spoken.text)
        return phrase


class _Scan:
    """One walk over a window of text, from the left, to the first place where it is to be cut."""

    def __init__(self, window: str, max_units: int, *, is_first: bool, is_final: bool, is_full: bool) -> None:
        self._window = window
        self._max_units = max_units
        self._is_first = is_first
        self._is_final = is_final
        self._is_full = is_full
        self._units = 0
        self._words = 0.0
        self._can_be_spoken = False
        self._clause_end = 0
        self._word_end = 0

    def run(self) -> _Cut | None:
        """The cut, or None when more text is needed to tell."""
        window = self._window
        for place, character in enumerate(window):
            self._count(place, character)
            if self._units > self._max_units:
                return self._forced(place)
            if not self._can_be_spoken:
                continue
            judgement = judge(window, place, is_final=self._is_final) or self._conjunction(place)
            if judgement is None:
                continue
            if judgement.boundary is Boundary.WAIT:
                if self._is_full:
                    continue
                return None
            if self._is_cut(judgement):
                return _Cut(judgement.end, judgement.boundary is Boundary.SENTENCE)
            self._clause_end = judgement.end
        return _Cut(len(window), True) if self._is_final else None

    def _count(self, place: int, character: str) -> None:
        if is_unspaced(character):
            self._units += _UNSPACED_UNITS
            self._words += 0.5
            self._can_be_spoken = True
            if place > 0 and is_unspaced(self._window[place - 1]) and not _belongs_to_previous(character):
                self._word_end = place
            return
        self._units += 1
        if character.isspace():
            self._word_end = place + 1
        elif character.isalnum():
            self._can_be_spoken = True
            if place == 0 or not self._window[place - 1].isalnum():
                self._words += 1

    def _is_cut(self, judgement: Judgement) -> bool:
        if judgement.boundary is Boundary.SENTENCE:
            return True
        return self._is_first and self._words >= _FIRST_CLAUSE_MIN_WORDS

    def _conjunction(self, place: int) -> Judgement | None:
        """In the first phrase, after some words, the space before `and`, `because`, `que`…"""
        if not self._is_first or self._words < _FIRST_CONJUNCTION_MIN_WORDS or self._window[place] != " ":
            return None
        rest = self._window[place + 1 : place + 12]
        word = rest.split(" ", 1)[0]
        if word == rest and len(rest) < 11:
            can_become_one = any(conjunction.startswith(word) for conjunction in CONJUNCTIONS)
            return Judgement(Boundary.WAIT, 0) if can_become_one and not self._is_final else None
        return Judgement(Boundary.CLAUSE, place + 1) if word in CONJUNCTIONS else None

    def _forced(self, place: int) -> _Cut:
        """Too long without a sentence's end: after a clause, else after a word, else right here."""
        if self._clause_end > place // 4:
            return _Cut(self._clause_end, False)
        if self._word_end > place // 4:
            return _Cut(self._word_end, False)
        while place > 1 and _belongs_to_previous(self._window[place]):
            place -= 1
        return _Cut(max(place, 1), False)


def _belongs_to_previous(character: str) -> bool:
    return is_emoji(character) or unicodedata.category(character).startswith("M")
