"""Bad requests are refused by the field's name; what is at the bounds is taken."""

from dataclasses import replace
from math import inf, nan

import pytest

from parley_llm.ports import Capabilities, Generation, Message, Role, Sampling
from parley_llm.validation import check_generation
from parley_servicekit.faults import Fault, FaultCode

CAPABILITIES = Capabilities(("small", "big"), 4096)
GOOD = Generation((Message("user", "Hello"),))


def field_of(generation: Generation, capabilities: Capabilities = CAPABILITIES) -> str | None:
    with pytest.raises(Fault) as caught:
        check_generation(generation, capabilities)
    assert caught.value.code is FaultCode.INVALID_ARGUMENT
    return caught.value.field


def test_bounds_are_taken() -> None:
    check_generation(GOOD, CAPABILITIES)
    check_generation(replace(GOOD, messages=(Message("system", "x"), *GOOD.messages)), CAPABILITIES)
    check_generation(replace(GOOD, messages=(Message("user", "é" * (16 << 10)),) * 1000), CAPABILITIES)
    check_generation(replace(GOOD, model="big", max_tokens=8192), CAPABILITIES)
    lowest = Sampling(0.0, 1e-6, 1, 0.5, -(1 << 63), ("x" * 64,) * 8)
    highest = Sampling(2.0, 1.0, 1000, 2.0, (1 << 63) - 1)
    for sampling in (lowest, highest):
        check_generation(replace(GOOD, sampling=sampling), CAPABILITIES)


@pytest.mark.parametrize(
    ("roles", "field"),
    [
        ((), "messages"),
        (("user",) * 1001, "messages"),
        (("user", "system", "user"), "messages[1].role"),
        (("user", "assistant"), "messages[1].role"),
        (("system",), "messages[0].role"),
    ],
)
def test_bad_orders_of_roles(roles: tuple[Role, ...], field: str) -> None:
    assert field_of(Generation(tuple(Message(role, "x") for role in roles))) == field


@pytest.mark.parametrize("text", ["", " \n\t", "é" * (16 << 10) + "x"])
def test_bad_texts(text: str) -> None:
    assert field_of(Generation((Message("user", "x"), Message("user", text)))) == "messages[1].text"


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        (Sampling(temperature=-0.1), "temperature"),
        (Sampling(temperature=2.1), "temperature"),
        (Sampling(temperature=nan), "temperature"),
        (Sampling(temperature=inf), "temperature"),
        (Sampling(top_p=0.0), "top_p"),
        (Sampling(top_p=1.1), "top_p"),
        (Sampling(top_k=0), "top_k"),
        (Sampling(top_k=1001), "top_k"),
        (Sampling(repeat_penalty=0.4), "repeat_penalty"),
        (Sampling(repeat_penalty=2.1), "repeat_penalty"),
        (Sampling(stop=("x",) * 9), "stop"),
        (Sampling(stop=("x", "")), "stop[1]"),
        (Sampling(stop=("x" * 65,)), "stop[0]"),
    ],
)
def test_bad_sampling(sampling: Sampling, field: str) -> None:
    assert field_of(replace(GOOD, sampling=sampling)) == f"generation.{field}"


def test_bad_lengths_and_names() -> None:
    assert field_of(replace(GOOD, max_tokens=-1)) == "generation.max_tokens"
    assert field_of(replace(GOOD, max_tokens=8193)) == "generation.max_tokens"
    assert field_of(replace(GOOD, model="x" * 129)) == "generation.model"
    with pytest.raises(Fault) as caught:
        check_generation(replace(GOOD, model="unknown"), CAPABILITIES)
    assert (caught.value.reason, caught.value.code) == ("MODEL_NOT_FOUND", FaultCode.NOT_FOUND)


def test_what_an_engine_cannot_honour_is_refused() -> None:
    limited = replace(CAPABILITIES, refused_options=frozenset({"top_k"}))
    assert field_of(replace(GOOD, sampling=Sampling(top_k=5)), limited) == "generation.top_k"
    check_generation(replace(GOOD, sampling=Sampling(top_p=0.5)), limited)
