"""Reads intents.txt and proverbs.txt.

`python -m training.domain.intents` writes user_phrases.txt and replies.txt.

Called by the corpus generator in training/llm; the text files feed the vocabulary of the recogniser.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path

from training.domain import grammar

FOLDER = Path(__file__).parent
PHRASES_PER_INTENT = 60
CAPITALISED_SLOTS = ("name", "city")


@dataclass
class Intent:
    """One thing a person may want: its phrase patterns (lower case) and the model's replies.

    `contextual`: which reply is right depends on the conversation.
    `keywords` mark the intent in any sentence.
    """

    name: str
    patterns: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    contextual: bool = False
    keywords: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Domain:
    """All intents by name, the declared slots, and the proverbs by kind of question (12 each)."""

    intents: dict[str, Intent]
    slots: grammar.Slots
    proverbs: dict[str, list[str]]


def _lines(file_name: str) -> list[str]:
    lines = (line.strip() for line in (FOLDER / file_name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def read_domain() -> Domain:
    """Parse the two text files. Raises ValueError for a line of no known form."""
    intents: dict[str, Intent] = {}
    slots: grammar.Slots = {}
    intent = Intent("")
    for line in _lines("intents.txt"):
        if line.startswith("@"):
            name, words = line[1:].split(" = ")
            slots[name] = words.split("|")
        elif line.startswith("["):
            intent = intents.setdefault(line[1:-1], Intent(line[1:-1]))
        elif line.startswith("> "):
            intent.patterns.append(line[2:])
        elif line.startswith("< "):
            intent.replies.append(line[2:])
        elif line.startswith("* "):
            intent.keywords = line[2:].split("|")
        elif line == "! contextual":
            intent.contextual = True
        else:
            raise ValueError(f"neither slot, intent, phrase nor reply: {line}")
    return Domain(intents, slots, _read_proverbs())


def _read_proverbs() -> dict[str, list[str]]:
    proverbs: dict[str, list[str]] = {}
    kind = ""
    for line in _lines("proverbs.txt"):
        if line.startswith("["):
            kind = line[1:-1]
        else:
            proverbs.setdefault(kind, []).append(line)
    return proverbs


def spoken_slot(slot: str, word: str) -> str:
    """The way a slot's word is written in a reply: names and cities have capitals."""
    return word.title() if slot in CAPITALISED_SLOTS else word


def fill_reply(reply: str, slot: str, word: str) -> str:
    """Put `word` into a reply; a reply starts with a capital."""
    filled = reply.replace("{" + slot + "}", spoken_slot(slot, word))
    return filled[0].upper() + filled[1:]


def spoken_replies(domain: Domain) -> list[str]:
    """Every reply the model may give, slots filled, without proverbs."""
    replies: list[str] = []
    for intent in domain.intents.values():
        for reply in intent.replies:
            slot = next((slot for slot in domain.slots if "{" + slot + "}" in reply), None)
            if slot is None:
                replies.append(reply)
            else:
                replies += [fill_reply(reply, slot, word) for word in domain.slots[slot]]
    return list(dict.fromkeys(replies))


def sample_phrases(domain: Domain, intent: Intent, wanted: int, rng: random.Random) -> list[str]:
    """Up to `wanted` distinct phrases of an intent, spread evenly over its patterns."""
    sequences = [grammar.parse(grammar.fill_slots(pattern, domain.slots)) for pattern in intent.patterns]
    phrases: dict[str, None] = {}
    for attempt in range(wanted * 20 if sequences else 0):
        phrases[grammar.draw(sequences[attempt % len(sequences)], rng)] = None
        if len(phrases) >= wanted:
            break
    return list(phrases)


def main() -> None:
    """Write user_phrases.txt and replies.txt beside this file; the same every time."""
    domain = read_domain()
    wide = {"out_of_scope": 800, "cannot_act": 250, "ball": 700, "opinion": 100, "statement": 300}
    phrases: dict[str, None] = {}
    for intent in domain.intents.values():
        wanted = wide.get(intent.name, PHRASES_PER_INTENT)
        phrases.update(dict.fromkeys(sample_phrases(domain, intent, wanted, random.Random(intent.name))))
    for slot in ("othername", "othercity", "otherfood", "othercolor", "otheranimal"):
        lead = {"othername": "my name is", "othercity": "i live in", "othercolor": "my favorite color is"}
        phrases.update(dict.fromkeys(f"{lead.get(slot, 'i like')} {word}" for word in domain.slots[slot]))
    (FOLDER / "user_phrases.txt").write_text("\n".join(phrases) + "\n", encoding="utf-8")
    replies = spoken_replies(domain) + [text for kind in domain.proverbs.values() for text in kind]
    (FOLDER / "replies.txt").write_text("\n".join(dict.fromkeys(replies)) + "\n", encoding="utf-8")
    words = {word for phrase in phrases for word in phrase.split()}
    print(f"{len(phrases)} phrases, {len(words)} words, {len(replies)} replies")


if __name__ == "__main__":
    main()
