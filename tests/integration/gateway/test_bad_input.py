"""What is wrong gets a typed error at once, and the session (or at least the gateway) lives on."""

import time
from collections.abc import Callable

import grpc.aio
import pytest

from parley.audio.v1 import audio_pb2
from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley.gateway.v1.conversation_service_pb2_grpc import ConversationServiceStub
from parley_client import Fault, Parley
from parley_servicekit.faults import FaultCode
from parley_servicekit.grpc_faults import fault_from_rpc_error, fault_from_status
from support.person import conversing
from support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

Config = config_pb2.ConversationConfig
WRONG_CONFIGS: dict[str, tuple[Callable[[Config], object], str]] = {
    "resume": (lambda c: c.resume.SetInParent(), "config.resume"),
    "greet": (lambda c: setattr(c, "greet", True), "config.greet"),
    "punctuation": (lambda c: setattr(c.recognition, "punctuation", True), "config.recognition.punctuation"),
    "translate": (lambda c: setattr(c.recognition, "task", 2), "config.recognition.task"),
    "tools": (lambda c: c.generation.tools.add(name="x"), "config.generation.tools"),
    "tool choice": (lambda c: setattr(c.generation, "tool_choice", 1), "config.generation.tool_choice"),
    "judged": (lambda c: setattr(c.turn_taking, "barge_in", 3), "config.turn_taking.barge_in"),
    "eager": (lambda c: setattr(c.turn_taking, "eager", True), "config.turn_taking.eager"),
    "end silence max": (
        lambda c: c.turn_taking.end_silence_max_duration.FromSeconds(1),
        "config.turn_taking.end_silence_max_duration",
    ),
    "no speech timeout": (
        lambda c: c.turn_taking.no_speech_timeout_duration.FromSeconds(9),
        "config.turn_taking.no_speech_timeout_duration",
    ),
    "short end silence": (
        lambda c: c.turn_taking.end_silence_min_duration.FromMilliseconds(5),
        "config.turn_taking.end_silence_min_duration",
    ),
    "persona": (lambda c: setattr(c, "persona", "nobody"), "config.persona"),
    "prompt": (lambda c: setattr(c, "system_prompt", "x" * 40_000), "config.system_prompt"),
    "wav input": (lambda c: c.input_audio.MergeFrom(format_of(6, 16_000)), "config.input_audio.encoding"),
    "no encoding": (lambda c: c.input_audio.MergeFrom(format_of(0, 16_000)), "config.input_audio.encoding"),
    "wrong rate": (
        lambda c: c.input_audio.MergeFrom(format_of(1, 4000)),
        "config.input_audio.sample_rate_hertz",
    ),
    "huge rate": (
        lambda c: c.output_audio.MergeFrom(format_of(1, 96_000)),
        "config.output_audio.sample_rate_hertz",
    ),
    "three channels": (
        lambda c: c.input_audio.MergeFrom(format_of(1, 16_000, 3)),
        "config.input_audio.channel_count",
    ),
    "temperature": (
        lambda c: setattr(c.generation, "temperature", float("nan")),
        "config.generation.temperature",
    ),
    "speed": (lambda c: setattr(c.synthesis, "speed", 9.0), "config.synthesis.speed"),
    "mode": (lambda c: c.output_modes.append(0), "config.output_modes"),
}


def format_of(encoding: int, rate: int, channels: int = 1) -> audio_pb2.AudioFormat:
    return audio_pb2.AudioFormat(encoding=encoding, sample_rate_hertz=rate, channel_count=channels)  # type: ignore[arg-type]


async def test_a_config_that_cannot_be_honoured_is_refused_by_the_name_of_its_field(scripted: Stack) -> None:
    async with Parley(scripted.gateway) as parley:
        for name, (spoil, field) in WRONG_CONFIGS.items():
            config = Config()
            spoil(config)
            began_s = time.monotonic()
            with pytest.raises(Fault) as refusal:
                async with parley.converse(config):
                    pass
            assert refusal.value.code is FaultCode.INVALID_ARGUMENT, name
            assert refusal.value.field == field, name
            assert time.monotonic() - began_s < 1.0, name


async def test_audio_before_config_is_refused(scripted: Stack) -> None:
    async with grpc.aio.insecure_channel(scripted.gateway) as channel:
        call = ConversationServiceStub(channel).Converse()
        await call.write(pb2.ConverseRequest(audio=audio_pb2.AudioChunk(packets=[bytes(640)])))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call.read()
    assert fault_from_rpc_error(refusal.value).reason == "CONFIG_MISSING"


async def test_a_conversation_that_does_not_exist_is_not_found(scripted: Stack) -> None:
    async with Parley(scripted.gateway) as parley:
        for conversation_id in ("0" * 32, "no such", "../../etc/passwd", "x" * 200):
            with pytest.raises(Fault) as refusal:
                async with parley.converse(Config(conversation_id=conversation_id)):
                    pass
            assert refusal.value.reason == "CONVERSATION_NOT_FOUND"


WRONG_MESSAGES: dict[str, tuple[pb2.ConverseRequest, str]] = {
    "odd bytes": (pb2.ConverseRequest(audio=audio_pb2.AudioChunk(packets=[b"\0\0\0"])), "INVALID_AUDIO"),
    "no packets": (pb2.ConverseRequest(audio=audio_pb2.AudioChunk()), "INVALID_AUDIO"),
    "an empty packet": (pb2.ConverseRequest(audio=audio_pb2.AudioChunk(packets=[b""])), "INVALID_AUDIO"),
    "a huge frame": (
        pb2.ConverseRequest(audio=audio_pb2.AudioChunk(packets=[bytes(70_000)])),
        "INVALID_AUDIO",
    ),
    "100 kB of text": (pb2.ConverseRequest(text="word " * 20_000), "TEXT_TOO_LONG"),
    "blank text": (pb2.ConverseRequest(text="  "), "TEXT_EMPTY"),
    "a second config": (pb2.ConverseRequest(config=Config()), "CONFIG_TWICE"),
    "a tool result": (pb2.ConverseRequest(tool_result=pb2.ToolResult(call_id="1")), "INVALID_CONFIG"),
    "nothing": (pb2.ConverseRequest(), "REQUEST_EMPTY"),
    "an update of nothing": (pb2.ConverseRequest(update=config_pb2.ConfigUpdate()), "INVALID_CONFIG"),
}


async def test_a_wrong_message_costs_only_itself(scripted: Stack) -> None:
    async with conversing(scripted.gateway) as person:
        for count, (name, (message, reason)) in enumerate(WRONG_MESSAGES.items(), start=1):
            began_s = time.monotonic()
            await person.conversation.send(message)
            error = (await person.wait_for("error", count=count)).error
            assert fault_from_status(error.status).reason == reason, name
            assert not error.fatal, name
            assert time.monotonic() - began_s < 1.0, name
        await person.conversation.send_text("still there?")
        assert (await person.reply()).heard_text


async def test_a_message_beyond_the_limit_ends_the_stream_but_not_the_gateway(scripted: Stack) -> None:
    async with Parley(scripted.gateway) as parley:
        with pytest.raises(Fault) as refusal:
            async with parley.converse() as conversation:
                await conversation.send_text("x" * 3_000_000)
                async for _ in conversation:
                    pass
        assert refusal.value.code is FaultCode.RESOURCE_EXHAUSTED
        assert (await parley.status()).session_limit


async def test_going_back_in_time_is_refused_and_a_gap_is_silence(scripted: Stack) -> None:
    async with conversing(scripted.gateway, has_microphone=False) as person:
        for offset_s in (0, 5, 1):
            chunk = audio_pb2.AudioChunk(packets=[bytes(640)])
            chunk.start_offset.FromSeconds(offset_s)
            await person.conversation.send(pb2.ConverseRequest(audio=chunk))
        error = (await person.wait_for("error")).error
    assert fault_from_status(error.status).field == "audio.start_offset"


async def test_one_millisecond_of_audio_and_silence_are_fine(scripted: Stack) -> None:
    async with conversing(scripted.gateway) as person:
        await person.conversation.send_audio([bytes(32)])
        await person.wait_for("input_acknowledged", count=3)
    assert "error" not in person.kinds()
    assert "turn_committed" not in person.kinds()


async def test_a_stream_that_just_ends_is_abandoned_and_the_gateway_lives_on(scripted: Stack) -> None:
    async with Parley(scripted.gateway) as parley:
        async with parley.converse() as conversation:
            await conversation.send_text("a long story")
            conversation_id = conversation.ready.conversation_id
        async with parley.converse(Config(conversation_id=conversation_id)) as conversation:
            assert conversation.ready.turn_count <= 1


async def test_the_history_refuses_what_it_cannot_do(scripted: Stack) -> None:
    async with Parley(scripted.gateway) as parley:
        with pytest.raises(Fault, match="CONVERSATION_NOT_FOUND"):
            await parley.get_conversation("0" * 32)
        with pytest.raises(Fault) as refusal:
            await parley.list_conversations(page_size=5000)
        assert refusal.value.field == "page_size"
        with pytest.raises(Fault, match="PAGE_TOKEN_INVALID"):
            await parley.list_conversations(page_token="nonsense")
