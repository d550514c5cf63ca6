"""Thinking is taken out of an answer, however the pieces are cut."""

import re

from hypothesis import given
from hypothesis import strategies as st

from parley_llm.thinking import ThinkingFilter

PARTS = st.sampled_from(
    ["<think>", "</think>", "<", "/", "think>", "<thin", " ", "\n", "Hello", "a < b", "思", "k>"]
)


def filtered(pieces: list[str]) -> str:
    thinking = ThinkingFilter()
    return "".join([*(thinking.feed(piece) for piece in pieces), thinking.finish()])


def reference(text: str) -> str:
    """The same by regular expression on the whole text: a block and the space after it; an open block to the end."""
    return re.sub(r"<think>.*?(?:</think>\s*|\Z)", "", text, flags=re.DOTALL)


def test_plain_pieces_pass_at_once() -> None:
    thinking = ThinkingFilter()
    assert [thinking.feed(piece) for piece in ("It", "'s", " 3 > 2", "")] == ["It", "'s", " 3 > 2", ""]


def test_a_block_and_the_space_behind_it_are_dropped() -> None:
    assert filtered(["<think>Let me", " see.</think>\n\n", "Yes."]) == "Yes."


def test_tags_may_be_cut_anywhere() -> None:
    text = "<think>hm</think> Well, <think>or not</think>yes"
    assert filtered(list(text)) == "Well, yes"


def test_what_only_looks_like_a_tag_is_told_late_but_whole() -> None:
    thinking = ThinkingFilter()
    assert thinking.feed("a <thi") == "a "
    assert thinking.feed("s") == "<this"
    assert filtered(["1 <"]) == "1 <"


def test_thinking_that_never_ends_says_nothing() -> None:
    assert filtered(["<think>", "for ever", "</thin"]) == ""


@given(st.lists(PARTS, max_size=20))
def test_cutting_changes_nothing(parts: list[str]) -> None:
    text = "".join(parts)
    assert filtered(parts) == filtered(list(text)) == filtered([text]) == reference(text)
