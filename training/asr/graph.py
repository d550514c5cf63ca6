"""Builds the decoding graph: which phonemes make which words (lexicon), and which words follow which (bigrams).

Called by ``export``. Writes what sherpa-onnx's FST decoder for CTC models reads: an OpenFst transducer from token
numbers + 1 (0 is epsilon) to word numbers, and the list of words. Words outside the lexicon are spelt as they sound:
a loop of single sounds, each with its commonest letters.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from kaldifst import StdArc, StdVectorFst

from training.asr import sentences
from training.asr.phonemes import NUMBER_OF, SYMBOLS, spoken

Way = tuple[str, tuple[str, ...]]
"""Something written, and the sounds that say it."""

START = "<s>"
EPSILON = 0
SPACE = "\u2581"
# Natural logarithms of odds; chosen as the card of the model says.
LANGUAGE_SCALE = 0.6
DISCOUNT = 0.6
RARE_WAY = 0.02
EVEN_SHARE = 0.8  # of the odds of a word by itself: people say more than our texts
PAIR_MIN_COUNT = 2
UNFINISHED_WORD_COST = 6.0  # at the end of what was heard so far
UNKNOWN_WORD_COST = 5.0
UNKNOWN_SOUND_COST = 2.0
LETTERS_OF_SOUND = {
    "@": "a", "0": "o", "3": "er", "A@": "ar", "D": "th", "E": "e", "I": "i", "N": "ng", "O": "o", "O@": "or",
    "OI": "oi", "S": "sh", "T": "th", "U": "oo", "U@": "ur", "V": "u", "Z": "s", "a": "a", "aI": "i", "aU": "ou",
    "dZ": "j", "e@": "air", "eI": "a", "i": "ee", "i@": "eer", "j": "y", "oU": "o", "tS": "ch", "u": "oo",
}  # fmt: skip


def corpus() -> list[list[str]]:
    """Sentences whose word pairs the graph prefers: the domain (without held-out texts) and templates."""
    rng = random.Random(11)
    templates = [sentences.template_sentence(rng) for _ in range(60_000)]
    return [sentence.split() for sentence in (*sentences.training_domain() * 4, *templates)]


def pronunciations() -> dict[str, dict[tuple[str, ...], float]]:
    """Costs of every word's ways to be said: alone, and as espeak-ng says it within sentences."""
    alone = {word: tuple(sound for part in spoken(word) for sound in part) for word in sentences.vocabulary()}
    counts: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    rng = random.Random(12)
    for sentence in (
        *sentences.domain_sentences(),
        *(sentences.template_sentence(rng) for _ in range(30_000)),
    ):
        words = sentence.split()
        said = spoken(sentence)
        if len(said) == len(words):
            for word, sounds in zip(words, said, strict=True):
                if word in alone and sounds:
                    counts[word][sounds] += 1
    costs: dict[str, dict[tuple[str, ...], float]] = {}
    for word, sounds_alone in alone.items():
        most = max(counts[word].values(), default=1)
        ways = {sounds: count / most for sounds, count in counts[word].items() if count >= RARE_WAY * most}
        ways[sounds_alone] = max(RARE_WAY, ways.get(sounds_alone, 0.0 if ways else 1.0))
        costs[word] = {sounds: -LANGUAGE_SCALE * math.log(share) for sounds, share in ways.items()}
    return costs


class Bigrams:
    """Absolute discounting with backoff to single words; every known word can be said anywhere."""

    def __init__(self, texts: Iterable[list[str]], words: list[str]) -> None:
        single: Counter[str] = Counter()
        pairs: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            single.update(text)
            for first, second in zip([START, *text], text, strict=False):
                pairs[first][second] += 1
        total, even = sum(single.values()), EVEN_SHARE / len(words)
        self.single_costs = {
            word: -math.log((1.0 - EVEN_SHARE) * single[word] / total + even) for word in words
        }
        self.pair_costs: dict[str, dict[str, float]] = {}
        self.backoff_costs: dict[str, float] = {}
        for first, followers in pairs.items():
            seen = sum(followers.values())
            kept = {word: count for word, count in followers.items() if count >= PAIR_MIN_COUNT}
            costs = {}
            for word, count in kept.items():
                direct = (count - DISCOUNT) / seen
                left = 1.0 - (sum(kept.values()) - DISCOUNT * len(kept)) / seen
                costs[word] = -math.log(direct + left * math.exp(-self.single_costs[word]))
            left = 1.0 - (sum(kept.values()) - DISCOUNT * len(kept)) / seen
            self.pair_costs[first] = costs
            self.backoff_costs[first] = -math.log(max(left, 1e-4))


class _Node:
    """A place within words: sounds that go on, and words that are complete here with their costs."""

    __slots__ = ("cost", "ends", "steps")

    def __init__(self) -> None:
        self.steps: dict[int, _Node] = {}
        self.ends: dict[Way, float] = {}
        self.cost = math.inf

    def add(self, sounds: Iterable[int], way: Way, cost: float) -> None:
        """One more way to go on from here; costs are known as early as possible (the least of all that may come)."""
        node = self
        node.cost = min(node.cost, cost)
        for sound in sounds:
            node = node.steps.setdefault(sound, _Node())
            node.cost = min(node.cost, cost)
        node.ends[way] = cost


UNKNOWN = _Node()
"""Within a word that is not known."""


class Graph:
    """CTC over lexicon over bigrams. A state is a place and the sound just heard (blank: none, so it may repeat)."""

    def __init__(self, ways: dict[str, dict[tuple[str, ...], float]], bigrams: Bigrams) -> None:
        self.fst = StdVectorFst()
        self._ways = ways
        self.lexicon = [("<eps>", ())]
        self.lexicon += [(SPACE + word, sounds) for word in sorted(ways) for sounds in ways[word]]
        letters = [(LETTERS_OF_SOUND.get(sound, sound), (sound,)) for sound in SYMBOLS[1:]]
        self.lexicon += [(SPACE + written, sounds) for written, sounds in letters] + letters
        self._number_of = {way: number for number, way in enumerate(self.lexicon)}
        self._states: dict[tuple[_Node, int], int] = {}
        self._open: list[tuple[_Node, int]] = []
        self._trees: dict[str | None, _Node] = {None: self._tree(bigrams.single_costs)}
        self._backoff = bigrams.backoff_costs
        for first, followers in bigrams.pair_costs.items():
            if followers:
                self._trees[first] = self._tree(followers)
        self._after = {id(tree): first for first, tree in self._trees.items()}
        self.fst.start = self._state(self._trees.get(START, self._trees[None]), 0)
        while self._open:
            self._expand(*self._open.pop())

    def _tree(self, costs: dict[str, float]) -> _Node:
        root = _Node()
        for word, cost in costs.items():
            for sounds, way_cost in self._ways[word].items():
                root.add(
                    [NUMBER_OF[sound] for sound in sounds],
                    (word, sounds),
                    LANGUAGE_SCALE * cost + way_cost,
                )
        return root

    def _state(self, place: _Node, sound: int) -> int:
        key = (place, sound)
        if key not in self._states:
            self._states[key] = self.fst.add_state()
            is_between = place is UNKNOWN or id(place) in self._after
            self.fst.set_final(self._states[key], 0.0 if is_between else UNFINISHED_WORD_COST)
            self._open.append(key)
        return self._states[key]

    def _arc(self, state: int, sound: int, word: int, cost: float, following: int) -> None:
        self.fst.add_arc(state, StdArc(sound + 1, word, cost, following))

    def _expand(self, place: _Node, heard: int) -> None:
        state = self._state(place, heard)
        self._arc(state, heard, EPSILON, 0.0, state)
        if heard:
            self._arc(state, 0, EPSILON, 0.0, self._state(place, 0))
        if place is UNKNOWN:
            self._go_on_spelling(state, heard)
            return
        for sound, node in place.steps.items():
            if sound == heard:
                continue
            cost = node.cost - (place.cost if id(place) not in self._after else 0.0)
            if node.steps:
                self._arc(state, sound, EPSILON, cost, self._state(node, sound))
            for (word, sounds), end_cost in node.ends.items():
                root = self._trees.get(word, self._trees[None])
                number = self._number_of[SPACE + word, sounds]
                self._arc(state, sound, number, cost + end_cost - node.cost, self._state(root, sound))
        if id(place) in self._after:
            self._leave(place, state, heard)

    def _leave(self, root: _Node, state: int, heard: int) -> None:
        """Between words: other words than the usual followers, or a word that is not known."""
        first = self._after[id(root)]
        if first is not None:
            cost = LANGUAGE_SCALE * self._backoff[first]
            self.fst.add_arc(state, StdArc(EPSILON, EPSILON, cost, self._state(self._trees[None], heard)))
            return
        self._spell(state, heard, SPACE, UNKNOWN_WORD_COST)

    def _spell(self, state: int, heard: int, before: str, cost: float) -> None:
        """One sound of a word that is not known."""
        for sound, symbol in enumerate(SYMBOLS[1:], start=1):
            if sound != heard:
                number = self._number_of[before + LETTERS_OF_SOUND.get(symbol, symbol), (symbol,)]
                self._arc(state, sound, number, cost + UNKNOWN_SOUND_COST, self._state(UNKNOWN, sound))

    def _go_on_spelling(self, state: int, heard: int) -> None:
        self._spell(state, heard, "", 0.0)
        self.fst.add_arc(state, StdArc(EPSILON, EPSILON, 0.0, self._state(self._trees[None], heard)))


def write_graph(folder: Path) -> None:
    """``graph.fst``, and ``lexicon.txt``: line n says what way n writes (▁ begins a word), and its sounds."""
    ways = pronunciations()
    graph = Graph(ways, Bigrams(corpus(), sorted(ways)))
    graph.fst.write(str(folder / "graph.fst"))
    lines = (" ".join([written, *sounds]) + "\n" for written, sounds in graph.lexicon)
    (folder / "lexicon.txt").write_text("".join(lines))
