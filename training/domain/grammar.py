"""Phrase patterns with choices, such as `(hi|hello) {name}`. Called by intents.py."""

import itertools
import random
import re

Slots = dict[str, list[str]]

_SLOT = re.compile(r"\{(\w+)\}")


def fill_slots(pattern: str, slots: Slots, keep: frozenset[str] = frozenset()) -> str:
    """Replace every `{slot}` by a choice over its words, except the slots named in `keep`.

    Raises KeyError for a slot nobody declared.
    """

    def choice(match: re.Match[str]) -> str:
        if match[1] in keep:
            return match[0]
        return "(" + "|".join(slots[match[1]]) + ")"

    return _SLOT.sub(choice, pattern)


def parse(pattern: str) -> list[list[str]]:
    """Split a pattern without slots into a sequence of choices; inner choices are flattened.

    Raises ValueError for unbalanced parentheses.
    """
    sequence: list[list[str]] = []
    position = 0
    while position < len(pattern):
        if pattern[position] != "(":
            end = pattern.find("(", position)
            end = len(pattern) if end < 0 else end
            if ")" in pattern[position:end]:
                raise ValueError(f"unbalanced parentheses: {pattern}")
            sequence.append([pattern[position:end]])
        else:
            end = _closing(pattern, position) + 1
            sequence.append(_alternatives(pattern[position + 1 : end - 1]))
        position = end
    return sequence


def _closing(pattern: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(pattern)):
        depth += {"(": 1, ")": -1}.get(pattern[position], 0)
        if depth == 0:
            return position
    raise ValueError(f"unbalanced parentheses: {pattern}")


def _alternatives(body: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for position, character in enumerate(body):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "|" and depth == 0:
            parts.append(body[start:position])
            start = position + 1
    parts.append(body[start:])
    return [text for part in parts for text in (all_texts(part) if "(" in part else [part])]


def all_texts(pattern: str) -> list[str]:
    """Every text of a pattern without slots."""
    return [_tidy("".join(choice), ends=False) for choice in itertools.product(*parse(pattern))]


def count(sequence: list[list[str]]) -> int:
    """How many texts a parsed pattern has (duplicates counted)."""
    total = 1
    for choice in sequence:
        total *= len(choice)
    return total


def draw(sequence: list[list[str]], rng: random.Random) -> str:
    """One text of a parsed pattern, each choice drawn evenly."""
    return _tidy("".join(choice[int(rng.random() * len(choice))] for choice in sequence))


def _tidy(text: str, ends: bool = True) -> str:
    text = re.sub(" +", " ", text)
    return text.strip() if ends else text
