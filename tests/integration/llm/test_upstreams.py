"""The llm process in front of Ollama and OpenAI-compatible servers: cancelling, deadlines, failures, keys."""

import asyncio
from pathlib import Path

from grpc_health.v1 import health_pb2

from parley.llm.v1 import chat_service_pb2 as chat
from parley.llm.v1 import chat_service_pb2_grpc
from parley_servicekit.grpc_client import open_channel
from support.fake_model_server import Behaviour, fake_model_server
from support.llm_client import (
    PATIENCE_S,
    SECRET,
    User,
    started,
    with_ollama,
)


async def test_a_cancelled_call_closes_the_connection_upstream() -> None:
    async with fake_model_server("ollama") as server, with_ollama(server) as client:
        server.behaviour = Behaviour(stall_after=2)
        call = client.call()
        await call.read()
        assert server.running_count == 1
        call.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await server.broken_off.wait()
        assert server.running_count == 0


async def test_a_client_that_goes_away_closes_the_connection_upstream() -> None:
    async with fake_model_server("ollama") as server, with_ollama(server) as client:
        server.behaviour = Behaviour(stall_after=2)
        channel = open_channel(client.process.grpc_address)
        call = chat_service_pb2_grpc.ChatServiceStub(channel).StreamingChat(
            chat.StreamingChatRequest(messages=[chat.ChatMessage(role=User, text=SECRET)])
        )
        await call.read()
        await channel.close()
        async with asyncio.timeout(PATIENCE_S):
            await server.broken_off.wait()


async def test_deadlines_of_the_service_are_kept() -> None:
    env = {"FIRST_TOKEN_TIMEOUT_MS": "2000", "STALL_TIMEOUT_MS": "500"}
    async with fake_model_server("ollama") as server, with_ollama(server, **env) as client:
        server.behaviour = Behaviour(stall_after=0)
        fault = await client.fault()
        assert (fault.code.name, fault.reason) == ("DEADLINE_EXCEEDED", "FIRST_TOKEN_TIMEOUT")
        server.behaviour = Behaviour(stall_after=3)
        assert (await client.fault()).reason == "ANSWER_STALLED"
        async with asyncio.timeout(PATIENCE_S):
            while server.running_count:
                await asyncio.sleep(0.01)


async def test_an_upstream_error_does_not_leak() -> None:
    async with fake_model_server("ollama") as server, with_ollama(server) as client:
        for behaviour in (
            Behaviour(error_status=500, error_text=SECRET),
            Behaviour(midway_error_after=2),
            Behaviour(cut_after=2),
        ):
            server.behaviour = behaviour
            fault = await client.fault()
            assert fault.code.name == "UNAVAILABLE"
            assert SECRET not in fault.message
        assert "people said this" not in client.process.logs()


async def test_ollama_may_come_later_and_needs_its_model() -> None:
    serving = health_pb2.HealthCheckResponse
    async with fake_model_server("ollama") as server:
        server.models = ()
        async with with_ollama(server) as client:
            await client.health_becomes(serving.NOT_SERVING)
            fault = await client.fault()
            assert (fault.code.name, fault.reason) == ("FAILED_PRECONDITION", "MODEL_MISSING")
            assert "ollama pull alphabet" in fault.message
            server.models = ("alphabet:latest",)
            await client.health_becomes(serving.SERVING)
            assert server.bodies[-1]["options"]["num_predict"] == 1
            server.models = ()
            await client.health_becomes(serving.NOT_SERVING)


async def test_an_openai_compatible_server_is_used_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k-123\n")
    async with fake_model_server("openai") as server:
        server.api_key = "k-123"
        env = {
            "PARLEY_LLM_ENGINE": "openai",
            "PARLEY_LLM_MODEL": "alphabet",
            "PARLEY_LLM_OPENAI_URL": server.url,
            "PARLEY_LLM_OPENAI_API_KEY_FILE": str(tmp_path / "key"),
        }
        async with started(env) as client:
            text, finished = await client.answer(max_tokens=5)
            assert (text, finished.prompt_token_count) == ("abcde", 7)
            fault = await client.fault(top_k=5)
            assert (fault.reason, fault.field) == ("NOT_HONOURED", "generation.top_k")
