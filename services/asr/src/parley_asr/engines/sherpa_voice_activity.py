"""Voice activity by a Silero-shaped model through sherpa-onnx: implements `VoiceActivityEngine`.

Only the model's yes or no per window is used; how long speech and silence must last is up to
`voice_activity`, since sherpa's own detector fixes these per instance. With both of its durations at zero a
window counts as speech from the second one in a row at or above the threshold on, and as silence at once
below threshold - 0.15.

Unlike that detector, `VadModel.is_speech` wants the context with each window: 64 + 512 samples for a model of v5 shape
(`window_size()` says 576), and anything else ends the process.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import sherpa_onnx

from parley_asr import faults
from parley_asr.engines.batch_decoder import check_samples
from parley_asr.ports import SAMPLE_RATE_HZ, WINDOW_SAMPLE_COUNT, Samples

_CONTEXT_MAX_SAMPLE_COUNT = 64  # Silero v5 sees the end of the window before; v4 sees none of it


class SherpaVoiceActivityEngine:
    """Opens a model instance per live recognition, which costs less than sharing one would."""

    onset_delay_window_count = 1

    def __init__(self, model_file: Path, thread_count: int) -> None:
        """thread_count: threads that all streams share."""
        self._model_file = model_file
        self._executor = ThreadPoolExecutor(thread_count, thread_name_prefix="asr-voice-activity")

    async def open_stream(self, speech_threshold: float) -> "SherpaVoiceActivityStream":
        """Raises Fault when the library refuses the model."""
        loop = asyncio.get_running_loop()
        model = await loop.run_in_executor(
            self._executor, load_voice_activity_model, self._model_file, speech_threshold
        )
        return SherpaVoiceActivityStream(model, self._executor)

    async def close(self) -> None:
        """Wait for the windows under way; no more are judged."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)


class SherpaVoiceActivityStream:
    """A model instance and the context between its windows."""

    def __init__(self, model: Any, executor: ThreadPoolExecutor) -> None:
        self._model = model
        self._executor = executor
        self._context: Samples = np.zeros(model.window_size() - WINDOW_SAMPLE_COUNT, dtype=np.float32)

    async def detect(self, windows: Samples) -> list[bool]:
        """One answer per window. Raises Fault."""
        check_samples(windows)
        try:
            judging = self._executor.submit(self._judge, windows)
        except RuntimeError:  # the executor is shut down
            raise faults.engine_closed() from None
        try:
            return await asyncio.wrap_future(judging)
        except RuntimeError as error:
            raise faults.decoding_failed() from error

    def close(self) -> None:
        """A judgement under way ends by itself; the model is freed with the last reference to it."""

    def _judge(self, windows: Samples) -> list[bool]:
        context_count = len(self._context)
        audio = np.concatenate((self._context, windows))
        self._context = audio[len(audio) - context_count :]
        return [
            bool(self._model.is_speech(audio[start : start + context_count + WINDOW_SAMPLE_COUNT]))
            for start in range(0, len(windows), WINDOW_SAMPLE_COUNT)
        ]


def load_voice_activity_model(model_file: Path, speech_threshold: float) -> Any:
    """Load a model, blocking. Raises Fault for what the library reports; it may also end the process."""
    if not model_file.is_file():
        raise faults.unusable_model(f"the voice activity model {model_file.name} is missing")
    silero = sherpa_onnx.SileroVadModelConfig(
        model=str(model_file),
        threshold=speech_threshold,
        min_silence_duration=0.0,
        min_speech_duration=0.0,
        window_size=WINDOW_SAMPLE_COUNT,
    )
    config = sherpa_onnx.VadModelConfig(silero_vad=silero, sample_rate=SAMPLE_RATE_HZ, num_threads=1)
    try:
        model = sherpa_onnx.VadModel.create(config)
    except Exception as error:
        raise faults.unusable_model(
            f"{model_file.name} cannot be loaded: {' '.join(str(error).split())[:200]}"
        ) from error
    if not 0 <= model.window_size() - WINDOW_SAMPLE_COUNT <= _CONTEXT_MAX_SAMPLE_COUNT:
        raise faults.unusable_model(
            f"{model_file.name} is not a voice activity model for 512 samples at 16 kHz"
        )
    return model
