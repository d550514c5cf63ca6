"""The Ollama engine against every way in which an Ollama server answers, over real HTTP on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from parley_llm.engines.ollama import OllamaEngine, OllamaOptions
from parley_llm.ports import Completion, Generation, Message, Sampling
from parley_servicekit.faults import Fault, FaultCode
from support.fake_model_server import Behaviour, FakeModelServer, fake_model_server

PATIENCE_S = 20.0
ASKED = Generation((Message("user", "a secret"),), Sampling(), 26, "alphabet")


@pytest.fixture
async def server() -> AsyncIterator[FakeModelServer]:
    async with fake_model_server("ollama") as server:
        yield server


@pytest.fixture
async def engine(server: FakeModelServer) -> AsyncIterator[OllamaEngine]:
    engine = make_engine(server.url)
    yield engine
    await engine.close()


def make_engine(
    url: str, context_token_count: int | None = 2048, read_timeout_ms: int = 10_000
) -> OllamaEngine:
    options = OllamaOptions(url, ("alphabet", "other:1b"), context_token_count, 60, 2000, read_timeout_ms)
    return OllamaEngine(options)


async def pieces_of(engine: OllamaEngine, generation: Generation = ASKED) -> list[str | Completion]:
    async with asyncio.timeout(PATIENCE_S), aclosing(engine.open_stream(generation)) as stream:
        return [piece async for piece in stream]


async def fault_of(engine: OllamaEngine) -> Fault:
    with pytest.raises(Fault) as caught:
        await pieces_of(engine)
    assert "people said this" not in str(caught.value) + str(dict(caught.value.metadata))
    assert caught.value.__cause__ is None
    return caught.value


async def test_thinking_is_switched_off_and_the_answer_is_bounded(
    engine: OllamaEngine, server: FakeModelServer
) -> None:
    await pieces_of(engine)
    body = server.bodies[0]
    assert (body["think"], body["stream"], body["keep_alive"]) == (False, True, 60)
    assert body["options"] == {"num_predict": 26, "num_ctx": 2048}


async def test_sampling_is_passed_on_and_runner_options_stay_the_same(
    engine: OllamaEngine, server: FakeModelServer
) -> None:
    sampling = Sampling(0.5, 0.9, 20, 1.1, (1 << 31) + 7, ("END",))
    await pieces_of(engine, Generation(ASKED.messages, sampling, 5, "other:1b"))
    assert server.bodies[0]["model"] == "other:1b"
    assert server.bodies[0]["options"] == {
        "num_predict": 5,
        "num_ctx": 2048,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 20,
        "repeat_penalty": 1.1,
        "seed": 7,
        "stop": ["END"],
    }


async def test_without_an_operators_context_the_server_keeps_its_own(server: FakeModelServer) -> None:
    engine = make_engine(server.url, context_token_count=None)
    await pieces_of(engine)
    await engine.close()
    assert "num_ctx" not in server.bodies[0]["options"]
    assert engine.capabilities.context_token_count == 4096


async def test_a_model_that_refuses_the_switch_is_asked_without_it_from_then_on(
    engine: OllamaEngine, server: FakeModelServer
) -> None:
    server.behaviour = Behaviour(refuses_think=True)
    assert len(await pieces_of(engine)) == 27
    await pieces_of(engine)
    assert ["think" in body for body in server.bodies] == [True, False, False]


async def test_thoughts_show_as_work_without_text(engine: OllamaEngine, server: FakeModelServer) -> None:
    server.behaviour = Behaviour(thinking=("hm", "well"), pieces=("yes",))
    assert await pieces_of(engine) == ["", "", "yes", Completion("stop", 7, 1)]


async def test_counts_may_be_missing(engine: OllamaEngine, server: FakeModelServer) -> None:
    server.behaviour = Behaviour(tells_usage=False, pieces=("yes",))
    assert (await pieces_of(engine))[-1] == Completion("stop", 0, 0)


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (401, "UPSTREAM_KEY_REFUSED", FaultCode.FAILED_PRECONDITION),
        (404, "MODEL_MISSING", FaultCode.FAILED_PRECONDITION),
        (429, "UPSTREAM_BUSY", FaultCode.RESOURCE_EXHAUSTED),
        (400, "UPSTREAM_REFUSED", FaultCode.INTERNAL),
        (500, "UPSTREAM_FAILED", FaultCode.UNAVAILABLE),
        (503, "UPSTREAM_FAILED", FaultCode.UNAVAILABLE),
        (302, "UPSTREAM_REFUSED", FaultCode.INTERNAL),
    ],
)
async def test_an_error_before_the_first_byte(
    engine: OllamaEngine, server: FakeModelServer, status: int, reason: str, code: FaultCode
) -> None:
    server.behaviour = Behaviour(error_status=status)
    fault = await fault_of(engine)
    assert (fault.reason, fault.code) == (reason, code)
    assert (fault.retry_after_ms is not None) == (
        code in (FaultCode.UNAVAILABLE, FaultCode.RESOURCE_EXHAUSTED)
    )


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
    engine: OllamaEngine, server: FakeModelServer, behaviour: Behaviour, reason: str
) -> None:
    server.behaviour = behaviour
    fault = await fault_of(engine)
    assert (fault.reason, fault.code) == (reason, FaultCode.UNAVAILABLE)
    assert fault.retry_after_ms is not None
    server.behaviour = Behaviour()
    assert len(await pieces_of(engine)) == 27


async def test_a_server_that_stalls_runs_into_the_read_timeout(server: FakeModelServer) -> None:
    server.behaviour = Behaviour(stall_after=1)
    engine = make_engine(server.url, read_timeout_ms=100)
    assert (await fault_of(engine)).reason == "UPSTREAM_TIMEOUT"
    await engine.close()


async def test_cancelling_during_a_stall_closes_the_connection(
    engine: OllamaEngine, server: FakeModelServer
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


async def test_cancelling_before_the_first_piece_closes_the_connection(
    engine: OllamaEngine, server: FakeModelServer
) -> None:
    server.behaviour = Behaviour(stall_after=0)
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(pieces_of(engine))
        await server.asked.wait()
        reader.cancel()
        await server.broken_off.wait()
    assert server.running_count == 0


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with fake_model_server("ollama") as gone:
        pass
    engine = make_engine(gone.url)
    assert (await fault_of(engine)).reason == "UPSTREAM_UNREACHABLE"
    with pytest.raises(Fault, match="UPSTREAM_UNREACHABLE"):
        await engine.ensure_available()
    await engine.close()


async def test_a_missing_model_is_told_with_what_to_do(engine: OllamaEngine, server: FakeModelServer) -> None:
    server.models = ("other:1b",)
    with pytest.raises(Fault, match="ollama pull alphabet") as caught:
        await engine.ensure_available()
    assert caught.value.reason == "MODEL_MISSING"
    assert "ollama pull alphabet" in (await fault_of(engine)).message
    assert not (await engine.list_models())[0].is_loaded
