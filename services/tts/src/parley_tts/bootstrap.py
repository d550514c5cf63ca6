"""Puts the tts process together. The one module that names engines; called by `__main__`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from prometheus_client import REGISTRY

from parley.tts.v1 import synthesis_service_pb2_grpc as pb_grpc
from parley_servicekit.process import Lifecycle
from parley_tts.availability import keep_available
from parley_tts.metrics import Metrics
from parley_tts.ports import SynthesisEngine
from parley_tts.servicer import ServiceLimits, SynthesisServicer
from parley_tts.settings import Settings

SERVICE_NAME = "parley.tts.v1.SynthesisService"


def new_start(settings: Settings) -> Callable[[Lifecycle], AbstractAsyncContextManager[None]]:
    """What `process.run` starts."""
    return partial(_start, settings)


@asynccontextmanager
async def _start(settings: Settings, lifecycle: Lifecycle) -> AsyncIterator[None]:
    metrics = Metrics(REGISTRY)
    engine = _new_engine(settings, metrics)
    limits = ServiceLimits(
        settings.max_streams,
        settings.phrase_timeout_ms,
        settings.text_idle_timeout_ms,
        settings.reader_timeout_ms,
    )
    try:
        await engine.open()
        servicer = SynthesisServicer(engine, metrics, limits, lifecycle.traces)
        pb_grpc.add_SynthesisServiceServicer_to_server(servicer, lifecycle.server)
        async with asyncio.TaskGroup() as tasks:
            tell = partial(lifecycle.serving.set, SERVICE_NAME)
            keeper = tasks.create_task(keep_available(engine, tell, metrics), name="engine keeper")
            try:
                yield
            finally:
                keeper.cancel()
    finally:
        await engine.close()


def _new_engine(settings: Settings, metrics: Metrics) -> SynthesisEngine:
    """The engine asked for; imported only then, since each needs an extra of its own."""
    makers = {
        "embedded": _espeak,
        "sherpa": _sherpa,
        "gpt-sovits": _gpt_sovits,
        "scripted": _scripted,
    }
    return makers[settings.engine](settings, metrics)


def _espeak(settings: Settings, metrics: Metrics) -> SynthesisEngine:
    from parley_tts.engines.espeak import EspeakEngine  # noqa: PLC0415

    return EspeakEngine(
        child_count=settings.espeak_child_count, default_voice=settings.default_voice, queue=metrics.queue
    )


def _sherpa(settings: Settings, metrics: Metrics) -> SynthesisEngine:
    from parley_tts.engines.sherpa_voice import SherpaVoiceEngine, SherpaVoiceOptions  # noqa: PLC0415

    if settings.model_folder is None:
        raise ValueError("settings were not validated")
    options = SherpaVoiceOptions(
        language_code=settings.model_language,
        num_threads=settings.num_threads,
        check_timeout_ms=settings.model_check_timeout_ms,
    )
    return SherpaVoiceEngine(settings.model_folder, options, settings.default_voice, metrics.queue)


def _gpt_sovits(settings: Settings, metrics: Metrics) -> SynthesisEngine:
    from parley_tts.engines.gpt_sovits import GptSovitsEngine, GptSovitsOptions  # noqa: PLC0415
    from parley_tts.engines.gpt_sovits_voices import read_voices  # noqa: PLC0415

    if settings.voices_file is None:
        raise ValueError("settings were not validated")
    options = GptSovitsOptions(
        sample_rate_hz=settings.gpt_sovits_sample_rate_hz,
        streaming_mode=settings.gpt_sovits_streaming_mode,
        seed=settings.gpt_sovits_seed,
        waiting_max_count=settings.gpt_sovits_waiting_max,
        wait_timeout_ms=settings.gpt_sovits_wait_timeout_ms,
        settle_ms=settings.gpt_sovits_settle_ms,
        warms_up=settings.gpt_sovits_warm_up,
    )
    voices = read_voices(settings.voices_file)
    return GptSovitsEngine(settings.gpt_sovits_url, voices, options, settings.default_voice, metrics.queue)


def _scripted(settings: Settings, _metrics: Metrics) -> SynthesisEngine:
    from parley_tts.engines.scripted import ScriptedEngine, SpeechScript, read_script  # noqa: PLC0415

    script = SpeechScript() if settings.script_file is None else read_script(settings.script_file)
    return ScriptedEngine(script, settings.default_voice)
