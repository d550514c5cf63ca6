"""Putting pieces of one text together, used for the utterances of a turn and for the phrases of a reply."""

# Scripts written without spaces between words: Thai, Lao, Myanmar, Khmer, then Chinese and Japanese with
# their punctuation and full-width forms. Korean does use spaces.
_UNSPACED_RANGES = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF00, 0xFFEF),
    (0x20000, 0x3FFFF),
)


def is_unspaced(character: str) -> bool:
    """Whether the character belongs to a script that puts no spaces between words."""
    code = ord(character)
    return any(low <= code <= high for low, high in _UNSPACED_RANGES)


def join_texts(left: str, right: str) -> str:
    """`left` and then `right`, with a space between where their script needs one and neither brings it."""
    if not left or not right or left[-1].isspace() or right[0].isspace():
        return left + right
    if is_unspaced(left[-1]) or is_unspaced(right[0]):
        return left + right
    return f"{left} {right}"
