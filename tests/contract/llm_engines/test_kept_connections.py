"""Connections to a model server are used again, and one that the server has closed meanwhile costs no answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from parley_llm.engines.ollama import OllamaEngine, OllamaOptions
from parley_llm.engines.openai_compatible import OpenAiCompatibleEngine
from parley_llm.ports import ChatEngine, Completion, Generation, Message, Sampling
from parley_servicekit.faults import Fault
from support.fake_model_server import Behaviour, FakeModelServer, fake_model_server

PATIENCE_S = 20.0
ASKED = Generation((Message("user", "go on"),), Sampling(), 3, "alphabet")


@pytest.fixture(params=["ollama", "openai"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[FakeModelServer]:
    async with fake_model_server(request.param) as server:
        yield server


@pytest.fixture
async def engine(server: FakeModelServer) -> AsyncIterator[ChatEngine]:
    engine: ChatEngine
    if server.protocol == "ollama":
        engine = OllamaEngine(OllamaOptions(server.url, ("alphabet",), 2048, 60, 2000, 10_000))
    else:
        engine = OpenAiCompatibleEngine(
            server.url,
            "",
            models=("alphabet",),
            context_token_count=2048,
            connect_timeout_ms=2000,
            read_timeout_ms=10_000,
        )
    yield engine
    await engine.close()


async def answer(engine: ChatEngine) -> str:
    async with asyncio.timeout(PATIENCE_S), aclosing(engine.open_stream(ASKED)) as stream:
        return "".join([piece async for piece in stream if not isinstance(piece, Completion)])


async def test_answers_that_follow_each_other_share_a_connection(
    engine: ChatEngine, server: FakeModelServer
) -> None:
    assert [await answer(engine) for _ in range(3)] == ["abc"] * 3
    assert server.connection_count == 1


async def test_an_answer_that_was_broken_off_takes_its_connection_along(
    engine: ChatEngine, server: FakeModelServer
) -> None:
    server.behaviour = Behaviour(stall_after=1)
    async with asyncio.timeout(PATIENCE_S), aclosing(engine.open_stream(ASKED)) as stream:
        assert await anext(stream) == "a"
    async with asyncio.timeout(PATIENCE_S):
        await server.broken_off.wait()
    server.behaviour = Behaviour()
    assert await answer(engine) == "abc"
    assert server.connection_count == 2


async def test_a_kept_connection_that_ends_without_a_word_is_replaced(
    engine: ChatEngine, server: FakeModelServer
) -> None:
    await answer(engine)
    server.request_max_count = 1
    assert [await answer(engine) for _ in range(2)] == ["abc"] * 2
    assert len(server.bodies) == 3


async def test_a_new_connection_that_ends_without_a_word_is_a_fault(
    engine: ChatEngine, server: FakeModelServer
) -> None:
    server.request_max_count = 0
    with pytest.raises(Fault) as caught:
        await answer(engine)
    assert caught.value.reason == "UPSTREAM_CUT"
    assert server.connection_count == 1


async def test_a_server_that_goes_on_after_its_last_line_holds_nobody_up(
    engine: ChatEngine, server: FakeModelServer
) -> None:
    server.behaviour = Behaviour(goes_on_after_end=True)
    assert [await answer(engine) for _ in range(2)] == ["abc"] * 2
    assert server.connection_count == 2
