"""The llm process under test and a client that talks to it. Used by the integration tests of llm."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from parley.llm.v1 import chat_service_pb2 as chat
from parley.llm.v1 import chat_service_pb2_grpc, generation_options_pb2
from parley_servicekit.faults import Fault
from parley_servicekit.grpc_client import open_channel
from parley_servicekit.grpc_faults import fault_from_rpc_error
from support.alphabet_model import alphabet
from support.fake_model_server import FakeModelServer
from support.processes import StartedProcess, started_process

PATIENCE_S = 30.0
SECRET = "sesame-opens-nothing"
SERVICE = "parley.llm.v1.ChatService"
User = chat.CHAT_ROLE_USER


class Client:
    """A process under test and the stubs to talk to it."""

    def __init__(self, process: StartedProcess, channel: grpc.aio.Channel) -> None:
        self.process = process
        self.stub = chat_service_pb2_grpc.ChatServiceStub(channel)
        self.health: Any = health_pb2_grpc.HealthStub(channel)

    def call(self, *messages: chat.ChatMessage, **options: Any) -> Any:
        said = messages or (chat.ChatMessage(role=User, text=SECRET),)
        generation = generation_options_pb2.GenerationOptions(**options)
        request = chat.StreamingChatRequest(messages=said, generation=generation)
        return self.stub.StreamingChat(request, timeout=PATIENCE_S)

    async def answer(self, *messages: chat.ChatMessage, **options: Any) -> tuple[str, chat.ChatFinished]:
        responses = [response async for response in self.call(*messages, **options)]
        assert all(response.text_delta.text for response in responses[:-1])
        assert responses[-1].HasField("finished")
        return "".join(response.text_delta.text for response in responses[:-1]), responses[-1].finished

    async def fault(self, *messages: chat.ChatMessage, **options: Any) -> Fault:
        return await fault_of(self.answer(*messages, **options))

    async def health_becomes(self, wanted: int) -> None:
        watch = self.health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        async with asyncio.timeout(PATIENCE_S):
            async for response in watch:
                if response.status == wanted:
                    break
        watch.cancel()


async def fault_of(call: Any) -> Fault:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return fault_from_rpc_error(caught.value)


@asynccontextmanager
async def started(env: Mapping[str, str]) -> AsyncIterator[Client]:
    """A running process, whose log must not hold what was said."""
    async with started_process("parley_llm", env) as process:
        channel = open_channel(process.grpc_address)
        try:
            yield Client(process, channel)
        finally:
            await channel.close()
        assert SECRET not in process.logs()
        assert alphabet(10) not in process.logs()


@asynccontextmanager
async def scripted(folder: Path, script: dict[str, Any], **env: str) -> AsyncIterator[Client]:
    script_file = folder / "script.json"
    script_file.write_text(json.dumps(script))
    settings = {"PARLEY_LLM_ENGINE": "scripted", "PARLEY_LLM_SCRIPT_FILE": str(script_file)}
    async with started(settings | {f"PARLEY_LLM_{name}": value for name, value in env.items()}) as client:
        yield client


@asynccontextmanager
async def with_ollama(server: FakeModelServer, **env: str) -> AsyncIterator[Client]:
    settings = {
        "PARLEY_LLM_ENGINE": "ollama",
        "PARLEY_LLM_MODEL": "alphabet",
        "PARLEY_LLM_OLLAMA_URL": server.url,
        "PARLEY_LLM_CHECK_INTERVAL_MS": "50",
    }
    async with started(settings | {f"PARLEY_LLM_{name}": value for name, value in env.items()}) as client:
        yield client


def child_of(process: StartedProcess) -> psutil.Process:
    (child,) = psutil.Process(process.pid).children()
    return child
