"""Puts the llm process together: the one file that names concrete engines. Called by `__main__`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from prometheus_client import REGISTRY

from parley.llm.v1 import chat_service_pb2, chat_service_pb2_grpc
from parley_llm.availability import Availability
from parley_llm.chat import Chat, ChatLimits
from parley_llm.metrics import Metrics
from parley_llm.ports import ChatEngine
from parley_llm.servicer import ChatServicer
from parley_llm.settings import Settings
from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.process import Lifecycle, run

SERVICE_NAME = chat_service_pb2.DESCRIPTOR.services_by_name["ChatService"].full_name
_BUNDLED_MODEL = "parley-tiny-chat.gguf"
_DEFAULT_CONTEXT_TOKEN_COUNT = 4096


def run_process(settings: Settings) -> int:
    """Serve until told to stop; the result is the exit code."""

    @asynccontextmanager
    async def start(lifecycle: Lifecycle) -> AsyncIterator[None]:
        async with _serving(settings, lifecycle):
            yield

    return run(settings, start, service_names=[SERVICE_NAME], linked_service_names=[SERVICE_NAME])


@asynccontextmanager
async def _serving(settings: Settings, lifecycle: Lifecycle) -> AsyncIterator[None]:
    metrics = Metrics(REGISTRY)
    engine = build_engine(settings)
    try:
        await engine.open()
        chat = Chat(engine, _limits(settings), metrics)

        async def report(is_available: bool) -> None:
            await lifecycle.serving.set(SERVICE_NAME, is_available)

        availability = Availability(engine, chat, metrics, report, settings.check_interval_ms)
        await availability.look()
        chat_service_pb2_grpc.add_ChatServiceServicer_to_server(
            ChatServicer(chat, lifecycle.traces), lifecycle.server
        )
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(availability.watch(), name="llm.availability")
            try:
                yield
            finally:
                watch.cancel()
    finally:
        await engine.close()


def build_engine(settings: Settings) -> ChatEngine:
    """The engine that the settings name. Raises Fault where its packages are not installed."""
    try:
        return _BUILDERS[settings.engine](settings)
    except ModuleNotFoundError as error:
        extra = {"embedded": "llamacpp"}.get(settings.engine, settings.engine)
        raise Fault(
            "ENGINE_NOT_INSTALLED",
            f"the engine {settings.engine} needs the package {error.name}; install parley-llm[{extra}]",
            code=FaultCode.FAILED_PRECONDITION,
        ) from None


def _limits(settings: Settings) -> ChatLimits:
    return ChatLimits(
        parallel_count=settings.parallel_count,
        queue_max_count=settings.queue_max_count,
        queue_timeout_ms=settings.queue_timeout_ms,
        first_token_timeout_ms=settings.first_token_timeout_ms,
        stall_timeout_ms=settings.stall_timeout_ms,
        answer_timeout_ms=settings.answer_timeout_ms,
        load_timeout_ms=settings.load_timeout_ms,
    )


# The engines are imported where they are built: each image holds only the packages of its own.
# ruff: noqa: PLC0415
def _build_embedded(settings: Settings) -> ChatEngine:
    from parley_llm.engines.llama_cpp import LlamaCppEngine, LlamaCppOptions

    if find_spec("xllamacpp") is None:  # only the child process imports it
        raise ModuleNotFoundError(name="xllamacpp")
    bundled = Path(str(resources.files("parley_llm"))) / "models" / _BUNDLED_MODEL
    return LlamaCppEngine(
        LlamaCppOptions(
            model_file=Path(settings.model) if settings.model else bundled,
            description="in this process's own llama.cpp"
            if settings.model
            else "Parley's own small English model",
            language_codes=() if settings.model else ("en",),
            context_token_count=settings.context_token_count or _DEFAULT_CONTEXT_TOKEN_COUNT,
            parallel_count=settings.parallel_count,
            thread_count=settings.thread_count,
            load_timeout_ms=settings.load_timeout_ms,
            read_timeout_ms=settings.load_timeout_ms,
        )
    )


def _build_ollama(settings: Settings) -> ChatEngine:
    from parley_llm.engines.ollama import OllamaEngine, OllamaOptions

    return OllamaEngine(
        OllamaOptions(
            url=str(settings.ollama_url),
            models=settings.models,
            context_token_count=settings.context_token_count,
            keep_alive_s=settings.ollama_keep_alive_s,
            connect_timeout_ms=settings.connect_timeout_ms,
            read_timeout_ms=settings.load_timeout_ms,
        )
    )


def _build_openai(settings: Settings) -> ChatEngine:
    from parley_llm.engines.openai_compatible import OpenAiCompatibleEngine

    return OpenAiCompatibleEngine(
        str(settings.openai_url),
        settings.read_openai_api_key(),
        models=settings.models,
        context_token_count=settings.context_token_count or _DEFAULT_CONTEXT_TOKEN_COUNT,
        connect_timeout_ms=settings.connect_timeout_ms,
        read_timeout_ms=settings.load_timeout_ms,
    )


def _build_scripted(settings: Settings) -> ChatEngine:
    from parley_llm.engines.scripted import ScriptedEngine, read_script

    assert settings.script_file is not None
    return ScriptedEngine(read_script(settings.script_file))


_BUILDERS = {
    "embedded": _build_embedded,
    "ollama": _build_ollama,
    "openai": _build_openai,
    "scripted": _build_scripted,
}
