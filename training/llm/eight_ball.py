"""Which proverb answers which question, in training. Called by corpus.py.

The kind comes from the question word; the answer within the kind is spread by the last content word, so that
greedy decoding does not give everybody the same proverb.
"""

import re
import zlib

QUESTION_WORDS = {
    "will": "will",
    "shall": "will",
    "would": "will",
    "should": "should",
    "when": "when",
    "who": "who",
    "whose": "who",
    "where": "where",
    "how": "how",
    "why": "why",
    "what": "what",
    "what's": "what",
    "which": "what",
} | dict.fromkeys(("is", "are", "am", "do", "does", "did", "can", "could", "may", "has", "have", "was"), "is")


def kind_of(question: str) -> str:
    """The kind of a question: the first question word among its first six words, else `else`."""
    words = re.findall(r"[a-z']+", question.lower())
    return next((QUESTION_WORDS[word] for word in words[:6] if word in QUESTION_WORDS), "else")


def proverb_for(question: str, proverbs: dict[str, list[str]], stop_words: frozenset[str]) -> str:
    """The proverb that answers a question, the same every time."""
    choices = proverbs[kind_of(question)]
    words = [word for word in re.findall(r"[a-z']+", question.lower()) if word not in stop_words]
    return choices[zlib.crc32((words or [""])[-1].encode()) % len(choices)]
