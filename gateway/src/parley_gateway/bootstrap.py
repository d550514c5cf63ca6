"""Puts the gateway together: the one file that names concrete classes. Called by `__main__`."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import grpc.aio
from prometheus_client import REGISTRY

from parley.asr.v1 import recognition_service_pb2 as asr_pb2
from parley.gateway.v1 import conversation_service_pb2 as gateway_pb2
from parley.gateway.v1.conversation_service_pb2_grpc import add_ConversationServiceServicer_to_server
from parley.gateway.v1.history_service_pb2_grpc import add_HistoryServiceServicer_to_server
from parley.llm.v1 import chat_service_pb2 as llm_pb2
from parley.tts.v1 import synthesis_service_pb2 as tts_pb2
from parley_gateway import __version__
from parley_gateway.adapters.conversation_rows import StoreLimits
from parley_gateway.adapters.grpc_chat_model import GrpcChatModel
from parley_gateway.adapters.grpc_speech_to_text import GrpcSpeechToText
from parley_gateway.adapters.grpc_text_to_speech import GrpcTextToSpeech
from parley_gateway.adapters.memory_conversations import MemoryConversations
from parley_gateway.adapters.queueing_conversations import QueueingConversations
from parley_gateway.adapters.redis_conversations import RedisConversations
from parley_gateway.adapters.service_status import service_statuses
from parley_gateway.adapters.sqlite_conversations import SqliteConversations
from parley_gateway.adapters.upstream_health import watch_upstreams
from parley_gateway.entrypoints.conversation_servicer import ConversationLimits, ConversationServicer
from parley_gateway.entrypoints.history_servicer import HistoryServicer
from parley_gateway.entrypoints.proxied_services import proxy_handler
from parley_gateway.metrics import GatewayMetrics
from parley_gateway.personas import load_personas
from parley_gateway.ports import ConversationStore
from parley_gateway.session.services import SessionServices
from parley_gateway.settings import Settings
from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.grpc_client import ClientTls, open_channel
from parley_servicekit.link_client import LinkChannel
from parley_servicekit.process import Lifecycle, Start

_PROXIED = {
    "asr": asr_pb2.DESCRIPTOR.services_by_name["RecognitionService"],
    "llm": llm_pb2.DESCRIPTOR.services_by_name["ChatService"],
    "tts": tts_pb2.DESCRIPTOR.services_by_name["SynthesisService"],
}
SERVICE_NAMES = [
    "parley.gateway.v1.ConversationService",
    "parley.gateway.v1.HistoryService",
    *(descriptor.full_name for descriptor in _PROXIED.values()),
]
_MILLISECONDS_AN_HOUR = 3_600_000


def starter(settings: Settings) -> Start:
    """What `process.run` starts the gateway with."""

    @asynccontextmanager
    async def start(lifecycle: Lifecycle) -> AsyncIterator[None]:
        personas = load_personas(settings.personas_file)
        if settings.default_persona not in personas:
            raise _unusable("default_persona", "names no persona")
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            channels = {
                name: await _channel(stack, target, settings) for name, target in _targets(settings).items()
            }
            links = {name: LinkChannel(channel) for name, channel in channels.items()}
            linking = [tasks.create_task(link.run(), name=f"links.{name}") for name, link in links.items()]
            linked = cast(dict[str, grpc.aio.Channel], links)  # of a channel, they have what stubs use
            metrics = GatewayMetrics(REGISTRY)
            for name, link in links.items():
                metrics.watch_links(name, link)
            store = await _store(settings, metrics)
            stack.push_async_callback(store.close)
            queueing = tasks.create_task(store.run(), name="store.queue")
            metrics.store_degraded.set_function(lambda: float(store.is_degraded))
            metrics.store_queued_events.set_function(lambda: store.queued_event_count)
            metrics.is_draining.set_function(lambda: float(lifecycle.draining.is_set()))
            services = SessionServices(
                speech_to_text=GrpcSpeechToText(linked["asr"]),
                chat_model=GrpcChatModel(linked["llm"], answer_deadline_ms=settings.answer_deadline_ms),
                text_to_speech=GrpcTextToSpeech(linked["tts"], reply_deadline_ms=settings.reply_deadline_ms),
                store=store,
                metrics=metrics,
                monotonic=time.monotonic,
                traces=lifecycle.traces,
            )

            async def status() -> gateway_pb2.GetStatusResponse:
                return gateway_pb2.GetStatusResponse(
                    version=__version__,
                    services=await service_statuses(channels),
                    is_store_available=not store.is_degraded and await _answers(store),
                    store=settings.store,
                )

            conversations = ConversationServicer(
                services,
                personas,
                settings.default_persona,
                ConversationLimits(settings.session_max_count, settings.drain_grace_ms),
                status,
                tasks,
                lifecycle.metrics.error,
            )
            add_ConversationServiceServicer_to_server(conversations, lifecycle.server)
            add_HistoryServiceServicer_to_server(HistoryServicer(store), lifecycle.server)
            for name, descriptor in _PROXIED.items():
                lifecycle.server.add_generic_rpc_handlers((proxy_handler(descriptor, name, channels[name]),))
            draining = tasks.create_task(_drain(lifecycle, conversations), name="gateway.drain")
            looking = tasks.create_task(watch_upstreams(channels, metrics.upstream), name="upstreams")
            yield
            for task in (draining, looking, queueing, *linking):
                task.cancel()

    return start


async def _drain(lifecycle: Lifecycle, conversations: ConversationServicer) -> None:
    await lifecycle.draining.wait()
    conversations.drain()


def _targets(settings: Settings) -> dict[str, str]:
    return {"asr": settings.asr_target, "llm": settings.llm_target, "tts": settings.tts_target}


async def _channel(stack: AsyncExitStack, target: str, settings: Settings) -> grpc.aio.Channel:
    tls = None
    if settings.services_ca_file is not None:
        tls = ClientTls(settings.services_ca_file, settings.services_cert_file, settings.services_key_file)
    try:
        channel = open_channel(target, tls)
    except OSError as error:
        raise _unusable("services_ca_file", error.strerror or "cannot be read") from None
    stack.push_async_callback(channel.close)
    return channel


async def _store(settings: Settings, metrics: GatewayMetrics) -> QueueingConversations:
    limits = StoreLimits(time_to_live_ms=settings.conversation_kept_hours * _MILLISECONDS_AN_HOUR)
    folder = settings.state_folder or _state_folder()
    store: ConversationStore
    match settings.store:
        case "redis":
            store = RedisConversations(settings.redis_url.get_secret_value(), limits)
        case "sqlite":
            store = SqliteConversations(folder / "conversations.sqlite3", limits)
        case "memory":
            store = MemoryConversations(limits)
    try:
        spool_path = folder / f"spool-{settings.store}.log"
        observe_append = metrics.store_append.observe
        to_check = Settings.variable("redis_url" if settings.store == "redis" else "state_folder")
        return await QueueingConversations.over(
            store, spool_path, limits, observe_append=observe_append, to_check=to_check
        )
    except Fault as fault:
        cause = fault.metadata.get("cause", "")
        problem = f"cannot be used ({cause}): it must be writable, and no other gateway may use it"
        raise _unusable("state_folder", problem) from None


def _state_folder() -> Path:
    """XDG state folder; `parley up` and containers set PARLEY_GATEWAY_STATE_FOLDER instead."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "parley"


async def _answers(store: ConversationStore) -> bool:
    try:
        await store.ping()
    except Fault:
        return False
    return True


def _unusable(field: str, problem: str) -> Fault:
    return Fault(
        "SETTING_INVALID", f"{Settings.variable(field)} {problem}", code=FaultCode.FAILED_PRECONDITION
    )
