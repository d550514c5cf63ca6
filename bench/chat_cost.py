"""What the llm service costs on top of a model server: CPU per token and delay of the first one. For `services`.

The model server is a fake on loopback in this process, which writes a letter per token at a fixed rate. Ours is a real
llm process with the engine `ollama`; the peer is the `ollama` package in a process of its own on the same server.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from parley.llm.v1 import chat_service_pb2 as pb2
from parley.llm.v1 import chat_service_pb2_grpc as pb2_grpc
from parley.llm.v1 import generation_options_pb2 as options_pb2
from parley_servicekit.grpc_client import open_channel

MODEL = "alphabet"
TOKENS_A_SECOND = 50
_DEADLINE_S = 120.0
_ASKED = "go on"


@dataclass(frozen=True)
class CostRound:
    """CPU seconds per token, of our process and of the one with the `ollama` package."""

    ours_s: float
    package_s: float


def cpu_seconds(pid: int) -> float:
    """CPU time of a process with all its threads, to the nanosecond (Linux: a clock for each process)."""
    return time.clock_gettime((~pid << 3) | 2)


async def cost_round(grpc_address: str, pid: int, url: str, stream_count: int, token_count: int) -> CostRound:
    """`stream_count` answers at once through each of the two, one after the other."""
    channel = open_channel(grpc_address)
    try:
        stub = pb2_grpc.ChatServiceStub(channel)
        began_s = cpu_seconds(pid)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(_read_answer(stub, token_count), name=f"answer.{index}")
                for index in range(stream_count)
            ]
        used_s = cpu_seconds(pid) - began_s
    finally:
        await channel.close()
    token_total = sum(task.result() for task in running)
    told = await _run_package(url, stream_count, token_count)
    return CostRound(used_s / token_total, told["cpu_s"] / told["tokens"])


async def _read_answer(stub: Any, token_count: int) -> int:
    count = 0
    async for response in stub.StreamingChat(_request(token_count), timeout=_DEADLINE_S):
        count += bool(response.text_delta.text)
    return count


async def _run_package(url: str, stream_count: int, token_count: int) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.ollama_client", url, MODEL, str(stream_count), str(token_count),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the process with the ollama package ended with {process.returncode}")
    told: dict[str, float] = json.loads(output)
    return told


@dataclass(frozen=True)
class FirstTokens:
    """Milliseconds from asking to the first text, each measured in turn with the others."""

    ours_ms: list[float]
    plain_ms: list[float]
    package_ms: list[float]


async def first_tokens(grpc_address: str, url: str, count: int) -> FirstTokens:
    """Ask through our service, by plain HTTP and through the `ollama` package, `count` times in turn."""
    import ollama  # noqa: PLC0415 - an optional package

    taken = FirstTokens([], [], [])
    package: Any = ollama.AsyncClient(host=url)
    channel = open_channel(grpc_address)
    try:
        stub = pb2_grpc.ChatServiceStub(channel)
        async with aiohttp.ClientSession() as http:
            ways: list[tuple[Callable[[], Awaitable[None]], list[float]]] = [
                (lambda: _first_of_ours(stub), taken.ours_ms),
                (lambda: _first_of_http(http, url), taken.plain_ms),
                (lambda: _first_of_package(package), taken.package_ms),
            ]
            for ask, _ in ways:
                await ask()  # connections are there already
            for turn in range(count):
                for ask, into in ways[turn % 3 :] + ways[: turn % 3]:
                    began_s = time.perf_counter()
                    await ask()
                    into.append((time.perf_counter() - began_s) * 1000)
    finally:
        await package.close()
        await channel.close()
    return taken


async def _first_of_ours(stub: Any) -> None:
    call = stub.StreamingChat(_request(1), timeout=_DEADLINE_S)
    response = await call.read()
    if not response.text_delta.text:
        raise RuntimeError("the first response of the llm service has no text")
    call.cancel()


async def _first_of_http(http: aiohttp.ClientSession, url: str) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": _ASKED}], "options": {"num_predict": 1}}
    async with http.post(f"{url}/api/chat", json=body) as response:
        json.loads(await response.content.readline())
        await response.read()


async def _first_of_package(client: Any) -> None:
    messages = [{"role": "user", "content": _ASKED}]
    stream = await client.chat(MODEL, messages, stream=True, options={"num_predict": 1})
    async for part in stream:
        if part.message.content:
            break
    async for _ in stream:
        pass


def _request(token_count: int) -> pb2.StreamingChatRequest:
    return pb2.StreamingChatRequest(
        messages=[pb2.ChatMessage(role=pb2.CHAT_ROLE_USER, text=_ASKED)],
        generation=options_pb2.GenerationOptions(max_tokens=token_count),
    )
