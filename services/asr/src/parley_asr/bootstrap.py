"""Puts the asr process together: the one file that names concrete engines. Called by `__main__`.

To add an engine: one file in `engines/`, one branch in `_open_engines`, one line in the contract tests.
"""

import asyncio
import importlib.util
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import REGISTRY

from parley.asr.v1 import recognition_service_pb2_grpc as service_grpc
from parley_asr import faults
from parley_asr.metrics import Metrics
from parley_asr.ports import RecognitionEngine, StreamRequest, VoiceActivityEngine
from parley_asr.recognition import RecognitionLimits
from parley_asr.recording_call import RecordingLimits
from parley_asr.servicer import Places, RecognitionServicer
from parley_asr.settings import EMBEDDED_MODEL_FOLDER, EMBEDDED_VAD_MODEL_FILE, Settings
from parley_asr.streaming_call import Engines
from parley_audio.codecs import open_decoder
from parley_audio.pcm import AudioFormat, Encoding
from parley_servicekit.process import Lifecycle, Start

SERVICE_NAME = "parley.asr.v1.RecognitionService"
_EMBEDDED_DESCRIPTION = "Embedded streaming English model of our own, made from synthetic speech"


def starter(settings: Settings) -> Start:
    """What `process.run` starts: engines loaded and tried, then the servicer registered."""

    @asynccontextmanager
    async def start(lifecycle: Lifecycle) -> AsyncIterator[None]:
        metrics = Metrics(REGISTRY)
        async with asyncio.TaskGroup() as tasks:
            # Loads PyAV: 0.3 s that the first client to send Opus would otherwise take from everybody.
            opus = AudioFormat(Encoding.OPUS, 48_000)
            tasks.create_task(asyncio.to_thread(open_decoder, opus), name="asr-load-opus")
            recognizer, detector = await _open_engines(settings, metrics)
        try:
            limits = RecognitionLimits(
                settings.min_speech_ms, settings.utterance_max_ms, settings.decode_timeout_ms
            )
            engines = Engines(recognizer, detector, limits, time.monotonic, lifecycle.draining)
            recording_limits = RecordingLimits(
                settings.recording_max_bytes,
                settings.recording_max_ms,
                settings.recording_upload_timeout_ms,
                settings.recording_timeout_ms,
            )
            places = Places(settings.max_streams), Places(settings.max_recordings)
            servicer = RecognitionServicer(engines, recording_limits, places, metrics, lifecycle.traces)
            service_grpc.add_RecognitionServiceServicer_to_server(servicer, lifecycle.server)
            yield
        finally:
            await detector.close()
            await recognizer.close()

    return start


def rpc_max_count(settings: Settings) -> int:
    """Calls at once: one for every place, and some for the refusals and the questions about models."""
    return settings.max_streams + settings.max_recordings + 64


async def _open_engines(
    settings: Settings, metrics: Metrics
) -> tuple[RecognitionEngine, VoiceActivityEngine]:
    """Raises Fault (FAILED_PRECONDITION) with one line for the operator. Imports only what the choice needs."""
    if settings.engine == "scripted":
        from parley_asr.engines import scripted  # noqa: PLC0415

        if settings.script_file is None:
            raise ValueError("settings let a scripted engine through without its script")
        return scripted.ScriptedEngine(scripted.read_script(settings.script_file)), scripted.LevelDetector()
    if importlib.util.find_spec("sherpa_onnx") is None:
        raise faults.unusable_model(
            f"the {settings.engine} engine needs sherpa-onnx: install parley-asr[sherpa]"
        )
    from parley_asr.engines.sherpa_streaming import SherpaOptions, SherpaStreamingEngine  # noqa: PLC0415
    from parley_asr.engines.sherpa_voice_activity import SherpaVoiceActivityEngine  # noqa: PLC0415
    from parley_asr.model_check import check_models  # noqa: PLC0415

    is_embedded = settings.engine == "embedded"
    options = SherpaOptions(
        folder=settings.model_folder or EMBEDDED_MODEL_FOLDER,
        description=_EMBEDDED_DESCRIPTION if is_embedded else "",
        language_codes=("en",) if is_embedded else settings.model_languages,
        thread_count=settings.num_threads,
        provider=settings.provider,
        batch_max_count=settings.batch_max_count,
    )
    vad_model_file = settings.vad_model_file or EMBEDDED_VAD_MODEL_FILE
    await check_models(options, vad_model_file, settings.model_check_timeout_ms)
    recognizer = await SherpaStreamingEngine.open(options, metrics.batch_begun)
    metrics.decode_queue.set_function(lambda: recognizer.waiting_count)
    await _warm_up(recognizer)
    return recognizer, SherpaVoiceActivityEngine(vad_model_file, settings.audio_threads)


async def _warm_up(recognizer: RecognitionEngine) -> None:
    """The first run of a model allocates; let nobody wait for that."""
    stream = await recognizer.open_stream(StreamRequest())
    await stream.finish()
    stream.close()
