"""The recogniser's tokens: blank and the American phonemes of espeak-ng, a few of them merged or split.

Called by training (targets of a sentence), by the lexicon (pronunciations of words) and by export.
"""

from __future__ import annotations

import functools

from training.asr.espeak import espeak

BLANK = "<blk>"
SYMBOLS = (
    BLANK, "@", "0", "3", "A@", "D", "E", "I", "N", "O", "O@", "OI", "S", "T", "U", "U@", "V", "Z", "a", "aI", "aU",
    "b", "d", "dZ", "e@", "eI", "f", "g", "h", "i", "i@", "j", "k", "l", "m", "n", "oU", "p", "r", "s", "t", "tS", "u",
    "v", "w", "z",
)  # fmt: skip
# Sounds of few words, as sounds of many.
_WRITTEN_AS = {
    "@L": "@ l", "aI@": "aI @", "aI3": "aI 3", "i@3": "i@ 3", "a#": "@", "aa": "a", "A": "0", "o@": "O@",
    "x": "k", "I#": "I", "I2": "I", "@2": "@", "t2": "t", "d#": "d", "t#": "t", "n2": "n", "U2": "U",
}  # fmt: skip


NUMBER_OF = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def encode(text: str) -> list[int]:
    """Token numbers of normalised text."""
    return [NUMBER_OF[sound] for word in spoken(text) for sound in word]


@functools.lru_cache(400_000)
def spoken(text: str) -> tuple[tuple[str, ...], ...]:
    """Sounds of every spoken word; words that run together come as one."""
    return tuple(_plain(word) for word in espeak().phonemes(text))


def _plain(sounds: list[str]) -> tuple[str, ...]:
    plain: list[str] = []
    for sound in sounds:
        written = _WRITTEN_AS.get(sound) or sound.rstrip("#2-;?")
        plain += _WRITTEN_AS.get(written, written).split()
    return tuple(plain)
