"""What of a written text is spoken: markdown, emoji and control characters go, everything else stays.

Pure. Called by `phrases`. Characters are only deleted or replaced by one space, so that every spoken
character still knows its place in the written text.
"""

import re
import unicodedata
from dataclasses import dataclass

# Each pattern's groups are what is not spoken; the rest of the match is only context.
_REMOVED = (
    re.compile(r"(!?\[)[^\[\]\n]*(\]\([^()\s]*\))"),  # link or picture: its words stay
    re.compile(r"(https?://(?:www\.)?)"),
    re.compile(r"https?://[^/\s]+(/[^\s。，；）]*[^\s。，；）.,;:!?)\"'])"),  # path of an address
    re.compile(r"(?m)^[ \t]*(#{1,6})(?=\s)"),  # heading
    re.compile(r"(?m)^[ \t]*((?:>[ \t]?)+)"),  # quotation
    re.compile(r"(?m)^[ \t]*([-*+•])(?=\s)"),  # list item
    re.compile(r"(?m)^[ \t]*([-*_=]{3,})[ \t]*$"),  # ruler
    re.compile(r"(~~+|`+|\|)"),
    re.compile(r"(\|?[ \t]*:?-{3,}:?[ \t]*\|)"),  # line between a table's head and body
    re.compile(r"(\\)(?=[^\w\s])"),
    re.compile(r"(</?[A-Za-z][^<>\n]{0,100}>)"),
    re.compile(r"(?<!\d)(\*+)|(\*+)(?!\d)"),  # 3*4 keeps its star
)
_EMOJI_RANGES = (
    (0x1F000, 0x1FAFF),
    (0x2600, 0x27BF),
    (0x2B00, 0x2BFF),
    (0x2190, 0x21FF),
    (0x2300, 0x23FF),
    (0xE0000, 0xE007F),
)
_JOINERS = "\u200c\u200d"  # meaningful within Persian and Indic words
_KEYCAP, _VARIATION_SELECTOR = "\u20e3", "\ufe0f"


@dataclass(frozen=True)
class Spoken:
    """`text`: what a voice says, empty if nothing can be said. `offsets[i]`: where text[i] was written."""

    text: str
    offsets: tuple[int, ...]


def is_emoji(character: str) -> bool:
    """Whether a character is a pictograph or belongs to one (joiner, selector, skin tone)."""
    if character < "\u2000":
        return False
    if character in (_KEYCAP, _VARIATION_SELECTOR, "\u200d"):
        return True
    return any(low <= ord(character) <= high for low, high in _EMOJI_RANGES)


def to_spoken(written: str) -> Spoken:
    """The speakable part of `written`, white space run together, with the place of every character."""
    removed = bytearray(len(written))
    for pattern in _REMOVED:
        for match in pattern.finditer(written):
            for group in range(1, pattern.groups + 1):
                start, end = match.span(group)
                if start >= 0:
                    removed[start:end] = b"\x01" * (end - start)
    characters: list[str] = []
    offsets: list[int] = []
    for offset, character in enumerate(written):
        kept = "" if removed[offset] and character != "|" else _spoken_character(character, characters)
        if kept == " " and (not characters or characters[-1] == " "):
            continue
        if kept:
            characters.append(kept)
            offsets.append(offset)
    while characters and characters[-1] == " ":
        characters.pop()
        offsets.pop()
    if not any(character.isalnum() for character in characters):
        return Spoken("", ())
    return Spoken("".join(characters), tuple(offsets))


def _spoken_character(character: str, before: list[str]) -> str:
    """The character itself, one space, or nothing."""
    if character.isspace() or character in "_|":
        return " "
    if character < "\x7f":
        return character if character >= " " else ""
    if character in _JOINERS:
        return character if before and before[-1].isalpha() else ""
    if is_emoji(character):
        return " "
    # Controls, formats, surrogates, private use and unassigned code points say nothing and upset engines.
    return "" if unicodedata.category(character).startswith("C") else character
