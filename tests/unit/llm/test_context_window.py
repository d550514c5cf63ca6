"""Old turns are dropped so that a prompt fits, many at a time, and the same ones again one turn later."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from parley_llm.context_window import estimate_prompt, estimate_tokens, fit, fixed_part, join_neighbours
from parley_llm.ports import Message, Role

SYSTEM = Message("system", "You are kind.")


def conversation(turn_count: int, chars: int = 60) -> list[Message]:
    """A system message and turns, the person's last."""
    roles: tuple[Role, Role] = ("user", "assistant")
    return [SYSTEM, *(Message(roles[n % 2], f"{n:04d} " + "word " * (chars // 5)) for n in range(turn_count))]


def test_what_fits_is_kept_as_it_is() -> None:
    messages = conversation(5)
    assert fit(messages, 10_000) == tuple(messages)


def test_the_system_message_and_the_last_one_are_always_kept() -> None:
    messages = conversation(41)
    assert fit(messages, 1) == (SYSTEM, messages[-1]) == fixed_part(messages)
    assert fit(messages[1:], 1) == (messages[-1],) == fixed_part(messages[1:])
    assert fixed_part([SYSTEM]) == (SYSTEM, SYSTEM)


def test_dropping_begins_seldom() -> None:
    beginnings = [fit(conversation(count), 600)[1].text[:4] for count in range(1, 101, 2)]
    changes = sum(before != after for before, after in pairwise(beginnings))
    assert 3 < changes < 15


def test_an_opening_word_of_the_model_is_kept_while_it_fits() -> None:
    messages = [SYSTEM, Message("assistant", "Good day!"), Message("user", "Hello")]
    assert fit(messages, 1000) == tuple(messages)


def test_neighbours_of_one_role_become_one_message() -> None:
    said = [
        Message("user", "Wait"),
        Message("user", "Go on"),
        Message("assistant", "Yes"),
        Message("user", "Ok"),
    ]
    assert join_neighbours(said) == (Message("user", "Wait\nGo on"), *said[2:])


def test_estimates_are_on_the_safe_side() -> None:
    # Token counts of widely used tokenizers for these texts lie between the two bounds.
    for text, least, most in [
        ("The quick brown fox jumps over the lazy dog", 9, 25),
        ("Der schnelle braune Fuchs springt über den faulen Hund", 12, 30),
        ("你好，今天天气怎么样？", 8, 25),
        ("1234567890", 4, 12),
        ("", 0, 1),
    ]:
        assert least <= estimate_tokens(text) <= most


@given(st.lists(st.integers(1, 900), min_size=1, max_size=60), st.integers(50, 1500))
def test_what_is_kept_fits_or_is_only_what_must_be_kept(lengths: list[int], room: int) -> None:
    roles: tuple[Role, Role] = ("user", "assistant")
    turns = [Message(roles[n % 2], "x" * length) for n, length in enumerate(lengths)]
    messages = [SYSTEM, *turns]
    kept = fit(messages, room)
    assert kept[0] == SYSTEM
    assert kept[1:] == tuple(turns[len(turns) - len(kept) + 1 :])
    assert estimate_prompt(kept) <= room or len(kept) == 2
    assert len(kept) == len(messages) or kept[1].role == "user" or len(kept) == 2


@given(st.lists(st.integers(1, 200), min_size=4, max_size=80), st.integers(400, 1500))
def test_the_next_turn_keeps_the_beginning_until_half_is_dropped(lengths: list[int], room: int) -> None:
    roles: tuple[Role, Role] = ("user", "assistant")
    turns = [Message(roles[n % 2], "x" * length) for n, length in enumerate(lengths)]
    for count in range(1, len(turns) - 1, 2):
        before = fit([SYSTEM, *turns[:count]], room)
        after = fit([SYSTEM, *turns[: count + 2]], room)
        if after[: len(before)] != before:
            assert len(after) < len(before)
