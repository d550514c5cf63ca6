"""Makes a clean phrase look like what a recogniser or a keyboard delivers. Called by corpus.py."""

import random
from collections import defaultdict

from training.domain.grammar import Slots
from training.llm.eight_ball import QUESTION_WORDS

_SOUND = str.maketrans("bpfvdtgkcqszxjmn", "1111222222333344")


def _skeleton(word: str) -> str:
    sounds = word.replace("'", "").translate(_SOUND)
    return sounds[:1] + "".join(sound for sound in sounds[1:] if sound not in "aeiouyhw")


class Noise:
    """Recogniser-like and keyboard-like changes; words in `kept` (lower case) are never touched."""

    def __init__(self, vocabulary: list[str], lists: Slots) -> None:
        """`lists` holds the word lists filler, opener, ending and small_word."""
        self._lists = lists
        self._small_words = frozenset(lists["small_word"])
        self._vocabulary = sorted(vocabulary)
        self._alike: dict[str, list[str]] = defaultdict(list)
        for word in self._vocabulary:
            self._alike[_skeleton(word)].append(word)

    def spoken(self, phrase: str, rng: random.Random, kept: frozenset[str] = frozenset()) -> str:
        """Fillers, lost, repeated and misheard words; about half of all phrases stay as they are."""
        words = phrase.split()
        if rng.random() < 0.18:
            words = rng.choice(self._lists["opener"]).split() + words
        if rng.random() < 0.12:
            words += rng.choice(self._lists["ending"]).split()
        if rng.random() < 0.45:
            words = self._damage(words, rng, kept)
        if rng.random() < 0.22:
            words = rng.choice(self._lists["filler"]).split() + words
        return " ".join(words)

    def _damage(self, words: list[str], rng: random.Random, kept: frozenset[str]) -> list[str]:
        changed: list[str] = []
        rate = 0.12 if len(words) > 3 else 0.05
        for word in words:
            if word in kept or rng.random() >= rate * (1.6 if word in self._small_words else 1.0):
                changed.append(word)
                continue
            change = rng.random()
            if change < 0.35:
                changed.append(rng.choice(self._alike[_skeleton(word)] or self._vocabulary))
            elif change < 0.5:
                changed.append(rng.choice(self._vocabulary))
            elif change < 0.65:
                changed += [word, word]
            elif change < 0.8:
                changed += [rng.choice(self._lists["filler"]), word]
        return changed or words

    def typed(self, phrase: str, rng: random.Random) -> str:
        """Case and punctuation as people type them, now and then a swapped letter pair."""
        words = ["I" + word[1:] if word == "i" or word.startswith("i'") else word for word in phrase.split()]
        text = " ".join(words)
        if rng.random() < 0.85:
            text = text[0].upper() + text[1:]
        question = words[0].lower() in QUESTION_WORDS
        if rng.random() < 0.8:
            text += rng.choice("??.!") if question else rng.choice("...!")
        return text

    def random_word(self, rng: random.Random) -> str:
        """Any word of the domain."""
        return rng.choice(self._vocabulary)

    def garbage(self, rng: random.Random) -> str:
        """Two to nine words that belong to nothing."""
        return " ".join(rng.choice(self._vocabulary) for _ in range(rng.randint(2, 9)))
