"""The llm process as it is started, over real gRPC: answers, refusals, cancelling, crashes of the engine, draining."""

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest
from grpc_health.v1 import health_pb2

from parley.llm.v1 import chat_service_pb2 as chat
from parley.llm.v1 import generation_options_pb2
from parley_servicekit.grpc_faults import fault_from_rpc_error
from support.alphabet_model import alphabet, write_alphabet_model
from support.llm_client import (
    PATIENCE_S,
    SECRET,
    SERVICE,
    Client,
    User,
    child_of,
    fault_of,
    scripted,
    started,
)
from support.processes import StartError


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Client]:
    model = write_alphabet_model(tmp_path / "alphabet.gguf", context_token_count=20_000)
    env = {"PARLEY_LLM_MODEL": str(model), "PARLEY_LLM_CONTEXT_TOKEN_COUNT": "20000"}
    async with started(env) as client:
        yield client


async def test_the_embedded_model_answers(embedded: Client) -> None:
    text, finished = await embedded.answer(max_tokens=30)
    assert text == alphabet(30)
    assert finished.finish_reason == chat.FINISH_REASON_LENGTH
    assert (finished.model, finished.completion_token_count) == ("alphabet", 30)
    assert finished.prompt_token_count > 10
    first, total = finished.first_token_duration.ToMilliseconds(), finished.total_duration.ToMilliseconds()
    assert 0 <= first <= total
    text, finished = await embedded.answer(stop=["de"])
    assert (text, finished.finish_reason) == ("abc", chat.FINISH_REASON_STOP)


async def test_models_are_listed_and_warmed_up(embedded: Client) -> None:
    (model,) = (await embedded.stub.ListModels(chat.ListModelsRequest())).models
    assert (model.name, model.is_loaded, model.context_token_count) == ("alphabet", True, 20_000)
    assert model.size_bytes > 100_000
    warm = await embedded.stub.WarmUp(chat.WarmUpRequest(model="alphabet", system_prompt="Be kind"))
    assert warm.duration.ToMilliseconds() >= 0


async def test_what_the_contract_forbids_is_refused_by_name(embedded: Client) -> None:
    def said(role: Any, text: str = "x", call_id: str = "") -> chat.ChatMessage:
        return chat.ChatMessage(role=role, text=text, call_id=call_id)

    user = said(User)
    tool = generation_options_pb2.Tool(name="f")
    refused: list[tuple[list[chat.ChatMessage], dict[str, Any], str]] = [
        ([said(chat.CHAT_ROLE_UNSPECIFIED)], {}, "messages[0].role"),
        ([user, said(chat.CHAT_ROLE_TOOL)], {}, "messages[1].role"),
        ([user, said(User, call_id="c")], {}, "messages[1].call_id"),
        ([user, said(chat.CHAT_ROLE_SYSTEM), user], {}, "messages[1].role"),
        ([user, said(chat.CHAT_ROLE_ASSISTANT)], {}, "messages[1].role"),
        ([said(User, "")], {}, "messages[0].text"),
        ([said(User, "x" * 32_769)], {}, "messages[0].text"),
        ([user] * 1001, {}, "messages"),
        ([user], {"temperature": 2.5}, "generation.temperature"),
        ([user], {"temperature": float("nan")}, "generation.temperature"),
        ([user], {"top_p": 0.0}, "generation.top_p"),
        ([user], {"top_k": 0}, "generation.top_k"),
        ([user], {"repeat_penalty": 3.0}, "generation.repeat_penalty"),
        ([user], {"stop": ["a"] * 9}, "generation.stop"),
        ([user], {"max_tokens": 9000}, "generation.max_tokens"),
        ([user], {"max_tokens": -1}, "generation.max_tokens"),
        ([user], {"model": "x" * 129}, "generation.model"),
        ([user], {"tools": [tool]}, "generation.tools"),
        ([user], {"tool_choice": generation_options_pb2.TOOL_CHOICE_NONE}, "generation.tool_choice"),
    ]
    for messages, options, field in refused:
        fault = await embedded.fault(*messages, **options)
        assert (fault.code.name, fault.field, fault.domain) == ("INVALID_ARGUMENT", field, "llm.parley"), (
            field
        )
    empty = embedded.stub.StreamingChat(chat.StreamingChatRequest())
    assert (await fault_of(empty.read())).field == "messages"
    assert (await embedded.fault(user, model="unknown")).reason == "MODEL_NOT_FOUND"
    warm_up = chat.WarmUpRequest(system_prompt="x" * 32_769)
    assert (await fault_of(embedded.stub.WarmUp(warm_up))).field == "system_prompt"
    warm_up = chat.WarmUpRequest(model="unknown")
    assert (await fault_of(embedded.stub.WarmUp(warm_up))).reason == "MODEL_NOT_FOUND"
    text, _ = await embedded.answer(max_tokens=3)
    assert text == "abc"


async def test_what_this_version_lacks_says_so(embedded: Client) -> None:
    for call in (
        embedded.stub.PullModel(chat.PullModelRequest(model="x")),
        embedded.stub.WatchLoad(chat.WatchLoadRequest()),
    ):
        fault = await fault_of(call.read())
        assert (fault.code.name, fault.reason) == ("UNIMPLEMENTED", "NOT_IN_THIS_VERSION")


async def test_a_long_conversation_is_shortened_and_a_long_text_refused(tmp_path: Path) -> None:
    model = write_alphabet_model(tmp_path / "alphabet.gguf")
    env = {"PARLEY_LLM_MODEL": str(model), "PARLEY_LLM_CONTEXT_TOKEN_COUNT": "512"}
    async with started(env) as client:
        roles = [User, chat.CHAT_ROLE_ASSISTANT]
        turns = [chat.ChatMessage(role=roles[n % 2], text="你好 word " * 5) for n in range(999)]
        text, finished = await client.answer(*turns, max_tokens=5)
        assert text == "abcde"
        assert finished.prompt_token_count < 512
        fault = await client.fault(chat.ChatMessage(role=User, text="word " * 1000))
        assert (fault.code.name, fault.reason) == ("INVALID_ARGUMENT", "PROMPT_TOO_LONG")


async def test_a_killed_engine_fails_its_answers_and_comes_back(embedded: Client) -> None:
    child = child_of(embedded.process)
    call = embedded.call(max_tokens=8000)
    await call.read()
    child.kill()

    async def read_on() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    fault = await fault_of(read_on())
    assert (fault.code.name, fault.reason, fault.retry_after_ms) == ("UNAVAILABLE", "UPSTREAM_CUT", 1000)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                text, _ = await embedded.answer(max_tokens=3)
                break
            except grpc.aio.AioRpcError as error:
                assert fault_from_rpc_error(error).retryable
                await asyncio.sleep(0.02)
    assert text == "abc"
    assert child_of(embedded.process).pid != child.pid
    assert '"engine.unavailable"' in embedded.process.logs()


async def test_health_follows_the_engine(embedded: Client) -> None:
    await embedded.health_becomes(health_pb2.HealthCheckResponse.SERVING)
    statuses = embedded.health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert (await statuses.read()).status == health_pb2.HealthCheckResponse.SERVING
    child_of(embedded.process).kill()
    async with asyncio.timeout(PATIENCE_S):
        assert (await statuses.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await statuses.read()).status == health_pb2.HealthCheckResponse.SERVING
    statuses.cancel()


async def test_a_killed_service_leaves_no_child(embedded: Client) -> None:
    child = child_of(embedded.process)
    embedded.process.kill()
    await embedded.process.wait()
    async with asyncio.timeout(PATIENCE_S):
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("content", [b"no model", b"GGUF" + bytes(64)])
async def test_a_bad_model_ends_the_process_with_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(StartError) as caught:
        async with started({"PARLEY_LLM_MODEL": str(tmp_path / "bad.gguf")}):
            pass
    assert caught.value.exit_code == 2
    errors = [line for line in caught.value.logs.splitlines() if '"level": "error"' in line]
    assert len(errors) == 1
    assert json.loads(errors[0])["reason"] == "MODEL_UNREADABLE"
    assert str(tmp_path) not in caught.value.logs


async def test_sigterm_lets_running_answers_end(tmp_path: Path) -> None:
    script = {"answers": [{"deltas": ["a"], "repeat": 20, "delta_ms": 20}]}
    async with scripted(tmp_path, script) as client:
        call = client.call()
        await call.read()
        client.process.terminate()
        responses = [await call.read() for _ in range(20)]
        assert responses[-1].HasField("finished")
        assert await client.process.wait() == 0


async def test_sigterm_ends_the_child_too(embedded: Client) -> None:
    child = child_of(embedded.process)
    embedded.process.terminate()
    assert await embedded.process.wait() == 0
    assert not child.is_running()


async def test_capacity_is_bounded_and_told(tmp_path: Path) -> None:
    script = {"answers": [{"deltas": ["a"], "hang_after": 1}]}
    async with scripted(
        tmp_path, script, PARALLEL_COUNT="1", QUEUE_MAX_COUNT="1", QUEUE_TIMEOUT_MS="500"
    ) as client:
        running = client.call()
        await running.read()
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(client.fault()) for _ in range(3)]
        faults = [call.result() for call in calls]
        assert sorted(fault.reason for fault in faults) == ["AT_CAPACITY", "AT_CAPACITY", "QUEUE_TIMEOUT"]
        for fault in faults:
            assert (fault.code.name, fault.retry_after_ms) == ("RESOURCE_EXHAUSTED", 500)
        running.cancel()


async def test_metrics_tell_what_happened_and_not_what_was_said(tmp_path: Path) -> None:
    async with scripted(tmp_path, {"answers": [{"deltas": ["a", "b"]}]}) as client:
        await client.answer()
        await client.fault(max_tokens=-1)
        url = f"http://{client.process.metrics_address}/metrics"
        page = (await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())).decode()
        assert 'parley_llm_requests_total{outcome="completed",reason=""} 1.0' in page
        assert 'parley_llm_requests_total{outcome="refused",reason="INVALID_FIELD"} 1.0' in page
        assert "parley_llm_engine_available 1.0" in page
        assert SECRET not in page


async def test_a_frozen_engine_is_replaced(tmp_path: Path) -> None:
    model = write_alphabet_model(tmp_path / "alphabet.gguf")
    env = {
        "PARLEY_LLM_MODEL": str(model),
        "PARLEY_LLM_CHECK_INTERVAL_MS": "20",
        "PARLEY_LLM_FIRST_TOKEN_TIMEOUT_MS": "2000",
    }
    async with started(env) as client:
        child = child_of(client.process)
        os.kill(child.pid, signal.SIGSTOP)
        assert (await client.fault()).reason == "FIRST_TOKEN_TIMEOUT"
        await client.health_becomes(health_pb2.HealthCheckResponse.NOT_SERVING)
        await client.health_becomes(health_pb2.HealthCheckResponse.SERVING)
        assert not child.is_running()
        assert (await client.answer(max_tokens=3))[0] == "abc"
