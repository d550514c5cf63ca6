"""What the synthesisers say: sentences from our own templates, the shared domain texts, word strings, rare words.

Called by the data generator and by the evaluation. Every draw comes from the caller's ``random.Random``, so a seed
reproduces the text. Held-out sentences (``text/held_out.txt``, the committed spoken questions, and one template
sentence in 40 by hash) are never drawn for training.
"""

from __future__ import annotations

import functools
import json
import random
import re
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = Path(__file__).resolve().parent / "text"
DOMAIN = ROOT / "training" / "domain"
SPOKEN_QUESTIONS = ROOT / "tests" / "support" / "speech" / "transcripts.json"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
HELD_OUT_ONE_IN = 40

_ONES = "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
_ONES += "thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()  # noqa: SIM905
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ONSETS = [
    "b",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "z",
    "bl",
    "br",
    "dr",
    "fl",
    "gr",
    "pl",
    "sh",
    "st",
    "tr",
]
_VOWELS = ["a", "e", "i", "o", "u", "ee", "oo", "ai"]
_CODAS = ["", "", "b", "d", "g", "l", "m", "n", "p", "r", "s", "t", "ck", "nd", "st", "sh"]


def normalise(text: str) -> str:
    """Lower-case words of letters and apostrophes; digits become number words, everything else a space."""
    lowered = text.lower().replace("\u2019", "'")
    spelt = re.sub(r"\d+", lambda found: f" {number_words(int(found.group()))} ", lowered)
    words = re.sub(r"[^a-z' ]", " ", spelt).split()
    return " ".join(word for word in (word.strip("'") for word in words) if word)


def number_words(value: int) -> str:
    """0 to 999,999 in words, without "and"."""
    if value < 20:
        return _ONES[value]
    if value < 100:
        rest = value % 10
        return _TENS[value // 10 - 2] + (f" {_ONES[rest]}" if rest else "")
    unit, name = (100, "hundred") if value < 1000 else (1000, "thousand")
    rest = value % unit
    return f"{number_words(value // unit)} {name}" + (f" {number_words(rest)}" if rest else "")


@functools.cache
def _lines(path: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in path.read_text().splitlines() if line.strip())


@functools.cache
def _slots() -> dict[str, tuple[str, ...]]:
    pairs = (line.split(":", 1) for line in _lines(TEXT / "slots.txt"))
    return {name: tuple(choice.strip() for choice in choices.split(",")) for name, choices in pairs}


@functools.cache
def domain_sentences() -> tuple[str, ...]:
    """Every sentence that the product's users or replies are expected to say, normalised."""
    lines = (
        line for name in ("user_phrases", "replies", "proverbs") for line in _lines(DOMAIN / f"{name}.txt")
    )
    return tuple(dict.fromkeys(filter(None, (normalise(line) for line in lines if line[0] not in "#["))))


@functools.cache
def held_out_sentences() -> tuple[str, ...]:
    """Hand-written sentences that no template makes, kept for evaluation."""
    return _lines(TEXT / "held_out.txt")


@functools.cache
def spoken_questions() -> frozenset[str]:
    """Texts of the committed demo questions, so that they never enter the training text."""
    recordings = json.loads(SPOKEN_QUESTIONS.read_text())["recordings"] if SPOKEN_QUESTIONS.exists() else []
    return frozenset(recording["text"] for recording in recordings)


@functools.cache
def rare_words() -> tuple[str, ...]:
    """Words that stay outside the lexicon: the recogniser has to spell them."""
    known = set(vocabulary())
    return tuple(word for word in " ".join(_lines(TEXT / "rare_words.txt")).split() if word not in known)


def is_held_out(sentence: str) -> bool:
    """True for template sentences kept from training (by hash, whatever the seed)."""
    unseen = sentence in held_out_sentences() or sentence in spoken_questions()
    return unseen or (sentence.count(" ") >= 3 and zlib.crc32(sentence.encode()) % HELD_OUT_ONE_IN == 0)


def pseudo_word(rng: random.Random) -> str:
    """A regular-looking word that does not exist, one to three syllables."""
    syllables = (
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
        for _ in range(rng.choice([1, 2, 2, 3]))
    )
    return "".join(syllables)


def _number(rng: random.Random) -> str:
    return number_words(rng.randrange(rng.choice([13, 21, 101, 101, 1000, 3000, 100_000])))


def _digits(rng: random.Random) -> str:
    zero = rng.choice(["zero", "oh"])
    return " ".join(rng.choice([zero, *_ONES[1:10]]) for _ in range(rng.randint(3, 8)))


def _time(rng: random.Random) -> str:
    hour = rng.choice(_ONES[1:13])
    minute = rng.choice(
        [*_ONES[2:20], *_TENS[:4], "twenty five", "thirty five", "forty five", "oh five", "ten"]
    )
    forms = [
        f"{hour} o'clock", f"half past {hour}", f"quarter past {hour}", f"quarter to {hour}",
        f"a quarter to {hour}", f"{hour} {minute}", f"{minute} past {hour}", f"{minute} to {hour}", hour,
        f"{hour} a m", f"{hour} p m", f"{hour} {minute} p m", "noon", "midnight", f"{hour} in the morning",
    ]  # fmt: skip
    return rng.choice(forms)


def _spelling(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return " ".join(rng.choice(_slots()["name"]))
    return " ".join(rng.choice(LETTERS) for _ in range(rng.randint(2, 7)))


_MADE = {"number": _number, "digits": _digits, "time": _time, "letters": _spelling}
_ALTERNATIVES = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")


def _fill(name: str, rng: random.Random) -> str:
    if name in _MADE:
        return _MADE[name](rng)
    choices = _lines(TEXT / "gone.txt") if name == "gone" else _slots()[name]
    return expand(rng.choice(choices), rng)


def expand(template: str, rng: random.Random) -> str:
    """Resolve ``(a|b)`` and ``{slot}`` of one template line."""
    while found := _ALTERNATIVES.search(template):
        template = template[: found.start()] + rng.choice(found.group(1).split("|")) + template[found.end() :]
    while found := _SLOT.search(template):
        template = template[: found.start()] + _fill(found.group(1), rng) + template[found.end() :]
    return " ".join(template.split())


def template_sentence(rng: random.Random, *, held_out: bool = False) -> str:
    """A sentence from a random template; with ``held_out`` one that training never draws."""
    while True:
        sentence = expand(rng.choice(_lines(TEXT / "templates.txt")), rng)
        in_domain = sentence in _domain_set() and sentence not in spoken_questions()
        wanted = (
            is_held_out(sentence) and not in_domain if held_out else in_domain or not is_held_out(sentence)
        )
        if wanted:
            return sentence


@functools.cache
def training_domain() -> tuple[str, ...]:
    """The domain without the committed spoken questions."""
    return tuple(sentence for sentence in domain_sentences() if sentence not in spoken_questions())


@functools.cache
def _domain_set() -> frozenset[str]:
    return frozenset(domain_sentences())


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """The lexicon in alphabetical order: every word of the domain, templates, slots, numbers and held-out texts."""
    rng = random.Random(7)
    templates = (expand(rng.choice(_lines(TEXT / "templates.txt")), rng) for _ in range(60_000))
    slots = (choice for choices in _slots().values() for choice in choices if "{" not in choice)
    numbers = (*_ONES, *_TENS, "hundred", "thousand", *LETTERS)
    texts = (*domain_sentences(), *held_out_sentences(), *numbers, *slots, *templates)
    return tuple(sorted(set(" ".join(texts).split())))


def word_string(rng: random.Random, *, rare_share: float = 0.0) -> str:
    """Two to seven unrelated words: the acoustic model must not lean on the templates."""
    words = vocabulary()
    return " ".join(
        (rare_word(rng) if rng.random() < rare_share else rng.choice(words)) for _ in range(rng.randint(2, 7))
    )


def rare_word(rng: random.Random) -> str:
    """A word that is not in the lexicon."""
    return rng.choice(rare_words()) if rng.random() < 0.7 else pseudo_word(rng)


def with_rare_word(sentence: str, rng: random.Random) -> str:
    """The sentence with one of its words replaced by a rare one."""
    words = sentence.split()
    words[rng.randrange(len(words))] = rare_word(rng)
    return " ".join(words)


def training_sentence(rng: random.Random) -> str:
    """One utterance's text in the proportions of the training set."""
    kind = rng.random()
    if kind < 0.28:
        return rng.choice(training_domain())
    if kind < 0.60:
        return template_sentence(rng)
    if kind < 0.92:
        return word_string(rng)
    if kind < 0.95:
        return word_string(rng, rare_share=0.5)
    return with_rare_word(template_sentence(rng), rng)
