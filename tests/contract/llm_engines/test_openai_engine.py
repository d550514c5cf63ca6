"""The OpenAI-compatible engine against every way in which such servers answer, over real HTTP on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from parley_llm.engines.openai_compatible import OpenAiCompatibleEngine
from parley_llm.ports import Completion, ContextOverflow, Generation, Message, Sampling
from parley_servicekit.faults import Fault, FaultCode
from support.fake_model_server import Behaviour, FakeModelServer, fake_model_server

PATIENCE_S = 20.0
ASKED = Generation((Message("user", "a secret"),), Sampling(), 26, "alphabet")


@pytest.fixture
async def server() -> AsyncIterator[FakeModelServer]:
    async with fake_model_server("openai") as server:
        server.api_key = "key"
        yield server


@pytest.fixture
async def engine(server: FakeModelServer) -> AsyncIterator[OpenAiCompatibleEngine]:
    engine = make_engine(server.url)
    yield engine
    await engine.close()


def make_engine(url: str, api_key: str = "key", read_timeout_ms: int = 10_000) -> OpenAiCompatibleEngine:
    return OpenAiCompatibleEngine(
        url,
        api_key,
        models=("alphabet", "other:1b"),
        context_token_count=2048,
        connect_timeout_ms=2000,
        read_timeout_ms=read_timeout_ms,
    )


async def pieces_of(engine: OpenAiCompatibleEngine, generation: Generation = ASKED) -> list[str | Completion]:
    async with asyncio.timeout(PATIENCE_S), aclosing(engine.open_stream(generation)) as stream:
        return [piece async for piece in stream]


async def fault_of(engine: OpenAiCompatibleEngine) -> Fault:
    with pytest.raises(Fault) as caught:
        await pieces_of(engine)
    assert "people said this" not in str(caught.value) + str(dict(caught.value.metadata))
    assert caught.value.__cause__ is None
    return caught.value


async def test_sampling_is_passed_on(engine: OpenAiCompatibleEngine, server: FakeModelServer) -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, seed=-5, stop=("END",))
    await pieces_of(engine, Generation(ASKED.messages, sampling, 5, "other:1b"))
    assert server.bodies[0] == {
        "model": "other:1b",
        "messages": [{"role": "user", "content": "a secret"}],
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": -5,
        "stop": ["END"],
    }


async def test_usage_may_be_missing(engine: OpenAiCompatibleEngine, server: FakeModelServer) -> None:
    server.behaviour = Behaviour(tells_usage=False, pieces=("yes",))
    assert await pieces_of(engine) == ["yes", Completion("stop", 0, 0)]


async def test_thoughts_are_not_text(engine: OpenAiCompatibleEngine, server: FakeModelServer) -> None:
    server.behaviour = Behaviour(thinking=("hm", "well"), pieces=("yes",))
    pieces = await pieces_of(engine)
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == "yes"
    assert pieces[:2] == ["", ""]


async def test_a_wrong_key_is_told_with_what_to_do(server: FakeModelServer) -> None:
    engine = make_engine(server.url, api_key="wrong")
    fault = await fault_of(engine)
    assert (fault.reason, fault.code) == ("UPSTREAM_KEY_REFUSED", FaultCode.FAILED_PRECONDITION)
    assert "PARLEY_LLM_OPENAI_API_KEY" in fault.message
    with pytest.raises(Fault, match="UPSTREAM_KEY_REFUSED"):
        await engine.ensure_available()
    await engine.close()


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (404, "MODEL_MISSING", FaultCode.FAILED_PRECONDITION),
        (429, "UPSTREAM_BUSY", FaultCode.RESOURCE_EXHAUSTED),
        (400, "UPSTREAM_REFUSED", FaultCode.INTERNAL),
        (500, "UPSTREAM_FAILED", FaultCode.UNAVAILABLE),
        (503, "UPSTREAM_FAILED", FaultCode.UNAVAILABLE),
        (504, "UPSTREAM_TIMEOUT", FaultCode.DEADLINE_EXCEEDED),
        (302, "UPSTREAM_REFUSED", FaultCode.INTERNAL),
    ],
)
async def test_an_error_before_the_first_byte(
    engine: OpenAiCompatibleEngine, server: FakeModelServer, status: int, reason: str, code: FaultCode
) -> None:
    server.behaviour = Behaviour(error_status=status)
    fault = await fault_of(engine)
    assert (fault.reason, fault.code) == (reason, code)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(midway_error_after=3), "UPSTREAM_FAILED"),
        (Behaviour(midway_error_after=0), "UPSTREAM_FAILED"),
        (Behaviour(cut_after=3), "UPSTREAM_CUT"),
        (Behaviour(cut_after=0), "UPSTREAM_CUT"),
        (Behaviour(unmarked_end_after=3), "UPSTREAM_INCOMPLETE"),
        (Behaviour(unmarked_end_after=0), "UPSTREAM_INCOMPLETE"),
        (Behaviour(garbage_after=3), "UPSTREAM_MALFORMED"),
    ],
)
async def test_a_stream_that_breaks_is_a_retryable_fault(
    engine: OpenAiCompatibleEngine, server: FakeModelServer, behaviour: Behaviour, reason: str
) -> None:
    server.behaviour = behaviour
    fault = await fault_of(engine)
    assert (fault.reason, fault.code) == (reason, FaultCode.UNAVAILABLE)
    assert fault.retry_after_ms is not None
    server.behaviour = Behaviour()
    assert len(await pieces_of(engine)) == 27


async def test_a_prompt_that_does_not_fit_is_known_by_its_mark(
    engine: OpenAiCompatibleEngine, server: FakeModelServer
) -> None:
    server.behaviour = Behaviour(prompt_max_chars=3)
    with pytest.raises(ContextOverflow):
        await pieces_of(engine)


async def test_a_server_that_stalls_runs_into_the_read_timeout(server: FakeModelServer) -> None:
    server.behaviour = Behaviour(stall_after=1)
    engine = make_engine(server.url, read_timeout_ms=100)
    assert (await fault_of(engine)).reason == "UPSTREAM_TIMEOUT"
    await engine.close()


async def test_cancelling_during_a_stall_closes_the_connection(
    engine: OpenAiCompatibleEngine, server: FakeModelServer
) -> None:
    server.behaviour = Behaviour(stall_after=1)
    started = asyncio.Event()

    async def read() -> None:
        async with aclosing(engine.open_stream(ASKED)) as stream:
            async for _ in stream:
                started.set()

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read())
        await started.wait()
        assert server.running_count == 1
        reader.cancel()
        await server.broken_off.wait()
    assert (server.running_count, server.broken_off_count) == (0, 1)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with fake_model_server("openai") as gone:
        pass
    engine = make_engine(gone.url)
    assert (await fault_of(engine)).reason == "UPSTREAM_UNREACHABLE"
    with pytest.raises(Fault, match="UPSTREAM_UNREACHABLE"):
        await engine.ensure_available()
    await engine.close()


async def test_options_outside_of_the_api_are_declared(engine: OpenAiCompatibleEngine) -> None:
    assert engine.capabilities.refused_options == {"top_k", "repeat_penalty"}
