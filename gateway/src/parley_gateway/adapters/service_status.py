"""Asks the three services how they are, for GetStatus and `parley doctor`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from parley.asr.v1 import recognition_service_pb2 as asr_pb2
from parley.asr.v1.recognition_service_pb2_grpc import RecognitionServiceStub
from parley.gateway.v1 import conversation_service_pb2 as gateway_pb2
from parley.llm.v1 import chat_service_pb2 as llm_pb2
from parley.llm.v1.chat_service_pb2_grpc import ChatServiceStub
from parley.tts.v1 import synthesis_service_pb2 as tts_pb2
from parley.tts.v1.synthesis_service_pb2_grpc import SynthesisServiceStub

_TIMEOUT_S = 0.8


async def service_statuses(channels: dict[str, grpc.aio.Channel]) -> list[gateway_pb2.ServiceStatus]:
    """One status for each of asr, llm, tts, in that order, within a second; one that does not answer is not serving."""
    asks: dict[str, Callable[[grpc.aio.Channel], Awaitable[tuple[str, list[str]]]]] = {
        "asr": _asr_default,
        "llm": _llm_default,
        "tts": _tts_default,
    }
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(_status(name, channels[name], ask), name=f"status.{name}")
            for name, ask in asks.items()
        ]
    return [task.result() for task in running]


async def _status(name: str, channel: grpc.aio.Channel, ask: Any) -> gateway_pb2.ServiceStatus:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            health_stub: Any = health_pb2_grpc.HealthStub(channel)
            health = await health_stub.Check(health_pb2.HealthCheckRequest())
            if health.status != health_pb2.HealthCheckResponse.SERVING:
                return gateway_pb2.ServiceStatus(service=name)
            model, languages = await ask(channel)
    except (TimeoutError, grpc.aio.AioRpcError):
        return gateway_pb2.ServiceStatus(service=name)
    return gateway_pb2.ServiceStatus(
        service=name, is_serving=True, default_model=model, language_codes=languages[:8]
    )


async def _asr_default(channel: grpc.aio.Channel) -> tuple[str, list[str]]:
    models = (await RecognitionServiceStub(channel).ListModels(asr_pb2.ListModelsRequest())).models
    return (models[0].name, list(models[0].language_codes)) if models else ("", [])


async def _llm_default(channel: grpc.aio.Channel) -> tuple[str, list[str]]:
    models = (await ChatServiceStub(channel).ListModels(llm_pb2.ListModelsRequest())).models
    return (models[0].name, list(models[0].language_codes)) if models else ("", [])


async def _tts_default(channel: grpc.aio.Channel) -> tuple[str, list[str]]:
    voices = (await SynthesisServiceStub(channel).ListVoices(tts_pb2.ListVoicesRequest())).voices
    return (voices[0].name, list(voices[0].language_codes)) if voices else ("", [])
