"""Services that are away, die or hang; a store that is away: typed errors at once, and recovery by itself."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest
import redis

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley_client import Fault, Parley
from parley_servicekit.grpc_faults import fault_from_status
from support.person import conversing
from support.processes import started_process
from support.redis_server import RedisServer
from support.scripted_stack import scripted_stack
from support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_without_any_service_a_session_opens_and_says_what_is_away(tmp_path: Path) -> None:
    targets = {f"PARLEY_GATEWAY_{name}_TARGET": "127.0.0.1:1" for name in ("ASR", "LLM", "TTS")}
    environment = targets | {"PARLEY_GATEWAY_STATE_FOLDER": str(tmp_path)}
    async with started_process("parley_gateway", environment) as gateway:
        began_s = time.monotonic()
        async with conversing(gateway.grpc_address) as person:
            error = (await person.wait_for("error")).error
            assert fault_from_status(error.status).reason == "ASR_UNAVAILABLE"
            assert (await person.wait_for("service_level")).service_level.level == 1
            assert time.monotonic() - began_s < 1.0
            sent_s = time.monotonic()
            await person.conversation.send_text("hello")
            assert (await person.reply()).outcome == events_pb2.REPLY_OUTCOME_FAILED
            await person.wait_for("error", lambda each: each.error.reply_id == 1)
            assert time.monotonic() - sent_s < 1.0
        async with Parley(gateway.grpc_address) as parley:
            status = await parley.status()
            with pytest.raises(Fault, match="TTS_UNAVAILABLE"):
                await parley.voices()
    assert [service.is_serving for service in status.services] == [False, False, False]


@pytest.mark.parametrize("name", ["llm", "tts"])
async def test_a_service_killed_in_the_middle_of_a_reply_costs_that_reply_alone(
    scripted: Stack, name: str
) -> None:
    async with conversing(scripted.gateway, has_microphone=False) as person:
        await person.conversation.send_text("something long")
        await person.wait_for("reply_audio", count=3)
        killed_s = time.monotonic()
        await scripted.kill(name)
        assert (await person.reply()).outcome == events_pb2.REPLY_OUTCOME_FAILED
        index = next(index for index, each in enumerate(person.responses) if each.HasField("reply_ended"))
        assert person.times_s[index] - killed_s < 1.0
        error = (await person.wait_for("error")).error
        assert fault_from_status(error.status).reason == f"{name.upper()}_UNAVAILABLE"
        outcome = await _reply_until_it_works(person)
    assert outcome == events_pb2.REPLY_OUTCOME_COMPLETED


async def test_recognition_killed_while_a_person_speaks_is_back_for_the_next_turn(scripted: Stack) -> None:
    async with conversing(scripted.gateway) as person:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(person.say("question"))
            await person.wait_for("speech_activity")
            await scripted.kill("asr")
        error = (await person.wait_for("error")).error
        assert fault_from_status(error.status).reason == "ASR_UNAVAILABLE"
        await person.wait_for("service_level", lambda each: each.service_level.level == 0)
        await person.say("question")
        assert (await person.reply()).outcome == events_pb2.REPLY_OUTCOME_COMPLETED


async def test_a_gateway_killed_in_the_middle_of_a_reply_keeps_what_was_heard(scripted: Stack) -> None:
    with pytest.raises((Fault, ExceptionGroup)):
        async with conversing(scripted.gateway, has_microphone=False) as person:
            await person.conversation.send_text("something long")
            await person.wait_for("reply_audio", count=20)
            conversation_id, written = person.conversation_id, person.written(1)
            killed = scripted.kill_at_once("gateway")
            await person.reply()
    await scripted.wait_restarted("gateway", killed)
    config = config_pb2.ConversationConfig(conversation_id=conversation_id)
    async with conversing(scripted.gateway, config, has_microphone=False) as person:
        assert person.conversation.ready.turn_count == 1
        await person.conversation.send_text("hello")
        await person.reply()
    async with Parley(scripted.gateway) as parley:
        turns = (await parley.get_conversation(conversation_id)).turns
    assert turns[0].text == "something long"
    heard = next(turn for turn in turns if turn.was_interrupted).text
    assert heard
    assert written.startswith(heard)


async def test_a_frozen_recogniser_does_not_hold_up_a_session(scripted: Stack) -> None:
    os.kill(scripted.pids["asr"], signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        async with conversing(scripted.gateway) as person:
            assert time.monotonic() - began_s < 1.5
            await person.conversation.send_text("hello")
            assert (await person.reply()).outcome == events_pb2.REPLY_OUTCOME_COMPLETED
    finally:
        os.kill(scripted.pids["asr"], signal.SIGCONT)


async def test_while_redis_is_away_conversations_go_on_and_nothing_is_lost(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        async with scripted_stack(tmp_path, {"PARLEY_GATEWAY_REDIS_URL": server.url}) as stack:
            async with conversing(stack.gateway, has_microphone=False) as person:
                await person.conversation.send_text("hello")
                await person.reply(1)
                server.kill()
                await person.conversation.send_text("hello again")
                assert (await person.reply(2)).outcome == events_pb2.REPLY_OUTCOME_COMPLETED
                conversation_id = person.conversation_id
            async with Parley(stack.gateway) as parley:
                assert not (await parley.status()).is_store_available
                server.start()
                async with asyncio.timeout(20):
                    while not (await parley.status()).is_store_available:
                        await asyncio.sleep(0.1)
                turns = (await parley.get_conversation(conversation_id)).turns
        assert [turn.text for turn in turns][0::2] == ["hello", "hello again"]
    finally:
        server.kill()


async def test_a_redis_with_a_password_we_lack_is_told_at_the_start_with_what_to_do(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    redis.Redis.from_url(server.url).config_set("requirepass", "sesame")
    environment = {"PARLEY_GATEWAY_REDIS_URL": server.url, "PARLEY_GATEWAY_STATE_FOLDER": str(tmp_path)}
    try:
        async with started_process("parley_gateway", environment) as gateway, asyncio.timeout(10):
            while "store.away" not in gateway.logs():
                await asyncio.sleep(0.05)
            line = next(line for line in gateway.logs().splitlines() if "store.away" in line)
    finally:
        server.kill()
    told = json.loads(line)
    assert told["cause"] == "AuthenticationError"
    assert told["advice"].endswith("check PARLEY_GATEWAY_REDIS_URL")
    assert "sesame" not in line


async def test_a_store_that_was_never_there_refuses_old_conversations_within_a_second(tmp_path: Path) -> None:
    environment = {
        "PARLEY_GATEWAY_REDIS_URL": "redis://127.0.0.1:1/0",
        "PARLEY_GATEWAY_STATE_FOLDER": str(tmp_path),
    }
    async with (
        started_process("parley_gateway", environment) as gateway,
        Parley(gateway.grpc_address) as parley,
    ):
        began_s = time.monotonic()
        with pytest.raises(Fault, match="STORE_UNAVAILABLE"):
            async with parley.converse(config_pb2.ConversationConfig(conversation_id="0" * 32)):
                pass
        assert time.monotonic() - began_s < 2.0


async def test_too_many_sessions_are_refused_with_a_hint_and_the_others_go_on(tmp_path: Path) -> None:
    environment = {"PARLEY_GATEWAY_SESSION_MAX_COUNT": "1", "PARLEY_GATEWAY_STATE_FOLDER": str(tmp_path)}
    async with (
        started_process("parley_gateway", environment) as gateway,
        Parley(gateway.grpc_address) as parley,
    ):
        async with parley.converse():
            with pytest.raises(Fault) as refusal:
                async with parley.converse():
                    pass
            assert refusal.value.reason == "AT_CAPACITY"
            assert refusal.value.retry_after_ms
        async with parley.converse():
            pass


async def test_a_gateway_that_drains_says_so_and_lets_the_reply_finish(tmp_path: Path) -> None:
    async with scripted_stack(tmp_path) as stack:
        with pytest.raises((Fault, ExceptionGroup)) as ending:
            async with conversing(stack.gateway, has_microphone=False) as person:
                await person.conversation.send_text("hello")
                await person.wait_for("reply_audio")
                os.kill(stack.pids["gateway"], signal.SIGTERM)
                await person.wait_for("draining")
                assert (await person.reply()).outcome == events_pb2.REPLY_OUTCOME_COMPLETED
                await person.wait_for("error")  # never comes: the stream ends
        assert "DRAINING" in repr(ending.value) or "without" in repr(ending.value)


async def _reply_until_it_works(person) -> int:
    """Ask again until the service is back; each failure must be typed."""
    for count in range(2, 12):
        await person.conversation.send_text("hello")
        outcome = (await person.reply(count)).outcome
        if outcome == events_pb2.REPLY_OUTCOME_COMPLETED:
            return outcome
        await asyncio.sleep(0.3)
    return outcome
