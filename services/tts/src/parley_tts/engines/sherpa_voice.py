"""`SherpaVoiceEngine`: neural voices by sherpa-onnx from a model folder. Opened by `bootstrap`.

One thread speaks one sentence after another; more threads would share the same cores. A wrong model ends the
process that loads it, so a throw-away process tries it first.
"""

import asyncio
import json
import sys
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parley_servicekit.queue_metrics import QueueMetrics
from parley_tts import faults
from parley_tts.engines.sherpa_model import find_model, load_model
from parley_tts.ports import Capabilities, Model, Samples, SpeechOptions, SpokenWord, Voice
from parley_tts.voices import VoiceList, check_ranges

_VOICE_MAX_COUNT = 1000
_CONTINUE, _STOP = 1, 0


@dataclass(frozen=True, slots=True)
class SherpaVoiceOptions:
    """language_code: of the model; check_timeout_ms: longest trial load."""

    language_code: str = "en"
    num_threads: int = 2
    check_timeout_ms: int = 120_000


class SherpaVoiceEngine:
    """One model. Voices are `<folder>` or, of a model with several speakers, `<folder>-<number>`."""

    def __init__(
        self,
        folder: Path,
        options: SherpaVoiceOptions | None = None,
        default_voice: str = "",
        queue: QueueMetrics | None = None,
    ) -> None:
        """queue: told of every wait for the thread. Raises Fault when the folder holds no model."""
        self._queue = queue or QueueMetrics.unregistered()
        self._folder = folder
        self._options = options or SherpaVoiceOptions()
        self._default_voice = default_voice
        self._found = find_model(folder, self._options.language_code)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sherpa-voice")
        self._model: Any = None
        self._voices: VoiceList | None = None
        self._speakers: dict[str, int] = {}
        self.capabilities = Capabilities(
            f"sherpa-onnx {self._found.family}", is_fast=False, speeds=(0.25, 4.0)
        )

    @property
    def is_available(self) -> bool:
        """See ports."""
        return self._model is not None

    def voices(self) -> Sequence[Voice]:
        """See ports."""
        return self._opened().voices

    def models(self) -> Sequence[Model]:
        """See ports."""
        description = f"sherpa-onnx, {self._found.family}"
        languages = (self._options.language_code,)
        return (Model(self._folder.name, description, languages, self.is_available, self._found.size_bytes),)

    async def open(self) -> None:
        """See ports."""
        told = await self._check()
        loop = asyncio.get_running_loop()
        self._model = await loop.run_in_executor(
            self._executor, load_model, self._found, self._options.num_threads
        )
        count = min(max(1, told["speaker_count"]), _VOICE_MAX_COUNT)
        names = [self._folder.name] if count == 1 else [f"{self._folder.name}-{i}" for i in range(count)]
        languages = (self._options.language_code,)
        voices = [Voice(name, self.capabilities.name, languages, told["sample_rate_hz"]) for name in names]
        self._speakers = {name: number for number, name in enumerate(names)}
        self._voices = VoiceList(voices, self._default_voice)

    async def ensure_available(self) -> None:
        """See ports: a loaded model stays loaded."""

    async def wait_lost(self) -> None:
        """See ports: if the model crashes, so does the process."""
        await asyncio.Event().wait()

    def open_stream(self, options: SpeechOptions) -> "SherpaVoiceStream":
        """See ports."""
        voice = self._opened().choose(options.voice, options.language_code)
        check_ranges(options, self.capabilities)
        return SherpaVoiceStream(self, voice, self._speakers[voice.name], options.speed)

    async def close(self) -> None:
        """See ports."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._model = None

    async def speak(
        self, text: str, speaker: int, speed: float
    ) -> AsyncGenerator[Samples | SpokenWord, None]:
        """Sentence by sentence. A stop is heard at the next sentence's end."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Samples | None] = asyncio.Queue()  # bounded by the phrase's length
        is_stopped = threading.Event()
        is_begun = asyncio.Event()

        def receive(samples: Any, _progress: float) -> int:
            piece = np.nan_to_num(np.asarray(samples, dtype=np.float32)).clip(-1, 1)
            loop.call_soon_threadsafe(pieces.put_nowait, piece)
            return _STOP if is_stopped.is_set() else _CONTINUE

        def generate() -> None:
            loop.call_soon_threadsafe(is_begun.set)
            try:
                if not is_stopped.is_set():
                    self._model.generate(text, sid=speaker, speed=speed, callback=receive)
            finally:
                loop.call_soon_threadsafe(pieces.put_nowait, None)

        generating = loop.run_in_executor(self._executor, generate)
        has_audio = False
        try:
            with self._queue.waiting():
                await is_begun.wait()
            while (piece := await pieces.get()) is not None:
                has_audio = has_audio or len(piece) > 0
                yield piece
            await generating
        except Exception:
            raise faults.phrase_failed() from None
        finally:
            is_stopped.set()
            generating.cancel()
        if not has_audio:
            raise faults.phrase_failed("the speech engine made no audio of a phrase")

    async def _check(self) -> dict[str, int]:
        """Sample rate and number of speakers, told by a process that survived loading the model."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "parley_tts.engines.sherpa_check",
            str(self._folder),
            self._options.language_code,
            str(self._options.num_threads),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(self._options.check_timeout_ms / 1000):
                output, _ = await child.communicate()
        except TimeoutError:
            raise faults.unusable("the model did not load in time") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode != 0:
            raise faults.unusable(
                f"sherpa-onnx cannot load the {self._found.family} model (exit code {child.returncode})"
            )
        told: dict[str, int] = json.loads(output.splitlines()[-1])
        return told

    def _opened(self) -> VoiceList:
        if self._voices is None:
            raise RuntimeError("the engine is not open")
        return self._voices


class SherpaVoiceStream:
    """See ports.SynthesisStream."""

    def __init__(self, engine: SherpaVoiceEngine, voice: Voice, speaker: int, speed: float) -> None:
        self._engine = engine
        self._speaker = speaker
        self._speed = speed
        self.voice = voice

    def speak(self, text: str) -> AsyncGenerator[Samples | SpokenWord, None]:
        """See ports."""
        return self._engine.speak(text, self._speaker, self._speed)
