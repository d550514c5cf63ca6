"""Tokens of the recogniser: whole words, word-start letters and continuation letters, after the blank.

Called by training, export and evaluation. A known word is one token; any other word is spelt letter by letter.
"""

from __future__ import annotations

import json
from pathlib import Path

from training.asr import sentences
from training.asr.espeak import espeak

BLANK = "<blk>"
SPACE = "\u2581"


class Vocabulary:
    """Token numbers of words (blank is 0) and phoneme numbers of the auxiliary training target (blank is 0)."""

    def __init__(self, words: list[str], phonemes_of_word: dict[str, list[str]]) -> None:
        self.words = words
        letters = [*sentences.LETTERS, "'"]
        starts = [SPACE + letter for letter in letters if letter not in words]
        self.symbols = [BLANK, *(SPACE + word for word in words), *starts, *letters]
        self.number_of = {symbol: number for number, symbol in enumerate(self.symbols)}
        self._phonemes_of_word = phonemes_of_word
        self.phonemes = ["", *sorted({sound for sounds in phonemes_of_word.values() for sound in sounds})]
        self._number_of_phoneme = {sound: number for number, sound in enumerate(self.phonemes)}

    @classmethod
    def build(cls) -> Vocabulary:
        """From the committed texts."""
        words = list(sentences.vocabulary())
        spoken = {word: simple_phonemes(word) for word in (*words, *sentences.rare_words())}
        return cls(words, spoken)

    def encode(self, text: str) -> list[int]:
        """Token numbers of normalised text."""
        numbers: list[int] = []
        for word in text.split():
            whole = self.number_of.get(SPACE + word)
            spelt = [SPACE + word[0], *word[1:]]
            numbers += [whole] if whole is not None else [self.number_of[symbol] for symbol in spelt]
        return numbers

    def encode_phonemes(self, text: str) -> list[int]:
        """Phoneme numbers of normalised text, sounds outside the table left out."""
        numbers: list[int] = []
        for word in text.split():
            if word not in self._phonemes_of_word:
                self._phonemes_of_word[word] = simple_phonemes(word)
            sounds = self._phonemes_of_word[word]
            numbers += [
                self._number_of_phoneme[sound] for sound in sounds if sound in self._number_of_phoneme
            ]
        return numbers

    def pronunciations(self) -> list[list[int]]:
        """Phoneme numbers of every token; none for the blank and for letters that only spell."""
        return [
            self.encode_phonemes(symbol[1:]) if symbol.startswith(SPACE) else [] for symbol in self.symbols
        ]

    def decode(self, numbers: list[int]) -> str:
        """Text of token numbers."""
        return "".join(self.symbols[number] for number in numbers).replace(SPACE, " ").strip()

    def save(self, path: Path) -> None:
        """All that training and export need, as JSON."""
        path.write_text(json.dumps({"words": self.words, "phonemes": self._phonemes_of_word}))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """What ``save`` wrote."""
        stored = json.loads(path.read_text())
        return cls(stored["words"], stored["phonemes"])

    def write_tokens(self, path: Path) -> None:
        """``tokens.txt`` as sherpa-onnx reads it: symbol, space, number."""
        lines = (f"{symbol} {number}\n" for number, symbol in enumerate(self.symbols))
        path.write_text("".join(lines))


def simple_phonemes(word: str) -> list[str]:
    """American phonemes without the synthesiser's marks for variants."""
    cleaned = (sound.strip("#2-;?") for sound in espeak().phonemes(word))
    return [sound for sound in cleaned if sound]
