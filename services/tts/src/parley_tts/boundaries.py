"""Where written text may be cut for speaking. Pure. Called by `phrases`.

`judge` looks at one character with what stands around it and says sentence end, clause end, neither, or that
it has to see more. Whatever it has said of a character stays true however the text goes on; so phrases do not
depend on how the text was delivered.
"""

import enum
import re
from dataclasses import dataclass

from parley_tts.speakable import is_emoji

_NARROW_ENDS = frozenset(".!?…؟۔։።‼⁇⁈⁉")
_WIDE_ENDS = frozenset("。！？｡．।॥")
_ENDS = _NARROW_ENDS | _WIDE_ENDS
_NARROW_CLAUSES = frozenset(",;:،؛")
_WIDE_CLAUSES = frozenset("，；：、")
_DASHES = frozenset("—–-")
_CLOSERS = frozenset("\"')]}»”’」』】》〉）］*_~`")
_OPENERS = "\"'([{«“‘「『【《〈（［*_~`>¿¡"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that go on after their full stop whatever follows.
_CONTINUING = _words(
    """dr mr mrs ms prof st gen sen rep capt lt col sgt rev hon fr sr sra dra mme mlle hr nr vs cf ca approx
    fig vol pp ed eds resp e.g i.e z.b d.h u.a p.ej p.ex bzw ggf inkl feat mt"""
)
# Words that may also end a sentence: the next word's case tells.
_AMBIGUOUS = _words("etc inc ltd co corp jr al usw est dept univ jan feb mar apr aug sept oct nov dec")
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_MARKER = re.compile(r"[ \t]*(?:[-*+•#>|]|\d{1,3}[.)])")
_MARKED_LINE = re.compile(r"[ \t]*(?:#{1,6}|[-*+•]|\d{1,3}[.)])[ \t]")
CONJUNCTIONS = _words(
    """and but or because so which that when while if who where as than y o pero porque que cuando si et ou
    mais car quand und oder aber weil dass wenn wie e ma perché mas и но что или потому"""
)


class Boundary(enum.Enum):
    """What kind of place for a cut it is."""

    SENTENCE = "sentence"
    CLAUSE = "clause"
    WAIT = "wait"  # the text seen so far does not tell


@dataclass(frozen=True)
class Judgement:
    """A boundary, and where the phrase before it ends (exclusive)."""

    boundary: Boundary
    end: int


_WAIT = Judgement(Boundary.WAIT, 0)


def is_unspaced(character: str) -> bool:
    """Whether it belongs to a script written without spaces between words (Han, kana, Thai, Khmer…)."""
    if character < "\u0e00":
        return False
    return (
        "\u4e00" <= character <= "\u9fff"
        or "\u3040" <= character <= "\u30ff"
        or "\u3400" <= character <= "\u4dbf"
        or "\u0e00" <= character <= "\u0eff"
        or "\u1000" <= character <= "\u109f"
        or "\u1780" <= character <= "\u17ff"
        or "\u31f0" <= character <= "\u31ff"
        or "\U00020000" <= character <= "\U0003134f"
    )


def judge(text: str, place: int, *, is_final: bool) -> Judgement | None:
    """Judge the character at `place`; `is_final`: nothing follows `text`. None: no boundary here."""
    character = text[place]
    if character in _ENDS:
        return _judge_end(text, place, is_final)
    if character in _NARROW_CLAUSES or character in _WIDE_CLAUSES:
        return _judge_clause(text, place, is_final)
    if character == "\n":
        return _judge_line_end(text, place, is_final)
    if character in _DASHES:
        return _judge_dash(text, place, is_final)
    return None


def _judge_end(text: str, place: int, is_final: bool) -> Judgement | None:
    """Full stops, question and exclamation marks, ellipses; judged at the last of a run of them."""
    after = _after_closers(text, place + 1)
    if place + 1 < len(text) and text[place + 1] in _ENDS:
        return None
    if after == len(text):
        return Judgement(Boundary.SENTENCE, after) if is_final else _WAIT
    following = text[after]
    end = after + 1 if following.isspace() else after
    run = _run_before(text, place)
    if any(mark in _WIDE_ENDS for mark in run):
        return Judgement(Boundary.SENTENCE, end)
    if not following.isspace() and not is_unspaced(following):
        return None
    if run == "…" or (len(run) > 1 and all(mark in ".…" for mark in run)):
        return _by_next_word(text, after, is_final, end, otherwise=Boundary.CLAUSE)
    if run != ".":
        if after == place + 1:
            return Judgement(Boundary.SENTENCE, end)
        return _by_next_word(text, after, is_final, end, otherwise=Boundary.CLAUSE)
    return _judge_full_stop(text, place, after, is_final)


def _judge_full_stop(text: str, place: int, after: int, is_final: bool) -> Judgement | None:
    """A single `.` before white space or an unspaced script: an abbreviation, a number or the end?"""
    start = place
    while start > 0 and not text[start - 1].isspace() and not is_unspaced(text[start - 1]):
        start -= 1
    word = text[start:place].lstrip(_OPENERS)
    end = after + 1 if text[after].isspace() else after
    line_start = text.rfind("\n", 0, start) + 1
    is_item_number = word.isdigit() and not text[line_start:start].strip()
    if is_item_number or word.lower() in _CONTINUING or (word.isdigit() and is_unspaced(text[after])):
        return None
    if len(word) == 1 and word.isupper() and word != "I":
        return None
    if word.lower() == "no" or word.lower() in _AMBIGUOUS or _DOTTED.fullmatch(word):
        if _DOTTED.fullmatch(word) and word.isupper():
            return None  # U.S. Army
        return _by_next_word(text, after, is_final, end, lower_ends=word.lower() == "no")
    if after > place + 1:
        return _by_next_word(text, after, is_final, end)
    return Judgement(Boundary.SENTENCE, end)


def _by_next_word(
    text: str,
    after: int,
    is_final: bool,
    end: int,
    *,
    otherwise: Boundary | None = None,
    lower_ends: bool = False,
) -> Judgement | None:
    """A sentence ends here if the next word does not begin with a small letter or a digit."""
    place = after
    while place < len(text) and text[place].isspace():
        place += 1
    if place == len(text):
        return Judgement(Boundary.SENTENCE, end) if is_final else _WAIT
    goes_on = text[place].isdigit() or (text[place].islower() and not lower_ends) or place == after
    if goes_on:
        return None if otherwise is None else Judgement(otherwise, end)
    return Judgement(Boundary.SENTENCE, end)


def _judge_clause(text: str, place: int, is_final: bool) -> Judgement | None:
    """Commas, semicolons and colons; not those inside 10,000 or 12:30."""
    after = _after_closers(text, place + 1)
    if after == len(text):
        return None if is_final else _WAIT
    if text[after].isspace():
        return Judgement(Boundary.CLAUSE, after + 1)
    if text[place] in _WIDE_CLAUSES or (is_unspaced(text[after]) and not text[place - 1].isdigit()):
        return Judgement(Boundary.CLAUSE, after)
    return None


def _judge_dash(text: str, place: int, is_final: bool) -> Judgement | None:
    """A dash between spaces, or a long one between anything."""
    if place + 1 == len(text):
        return None if is_final else _WAIT
    before_is_space = place > 0 and text[place - 1].isspace()
    if before_is_space and text[place + 1].isspace():
        return Judgement(Boundary.CLAUSE, place + 2)
    if text[place] == "—" and text[place + 1] not in _ENDS and text[place + 1] != "—":
        return Judgement(Boundary.CLAUSE, place + 1)
    return None


def _judge_line_end(text: str, place: int, is_final: bool) -> Judgement | None:
    """A line's end ends a sentence before and after headings and list items and at an empty line."""
    rest = text[place + 1 : place + 40].lstrip(" \t")
    line_start = text.rfind("\n", 0, place) + 1
    here = Judgement(Boundary.SENTENCE, place + 1)
    if _MARKED_LINE.match(text, line_start, place):
        return here
    if not rest or re.fullmatch(r"\d{1,3}", rest):
        at_end = place + 40 >= len(text)
        return here if is_final or not at_end else _WAIT
    return here if rest[0] in "\r\n" or _MARKER.match(rest) else None


def _run_before(text: str, place: int) -> str:
    start = place
    while start > 0 and text[start - 1] in _ENDS:
        start -= 1
    return text[start : place + 1]


def _after_closers(text: str, place: int) -> int:
    """The first place that does not close what was said before."""
    while place < len(text) and (text[place] in _CLOSERS or is_emoji(text[place])):
        place += 1
    return place
