"""`ScriptedEngine`: tones or silence by the character, with delays and failures as a JSON script says.

A shipped engine for tests, load and chaos; opened by `bootstrap`. It says in its names that it is scripted.
"""

import asyncio
import os
import random
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parley_servicekit.scripted_delays import Delay, drawn_ms
from parley_tts import faults
from parley_tts.ports import Capabilities, Model, Samples, SpeechOptions, SpokenWord, Voice
from parley_tts.voices import VoiceList, check_ranges

_SCRIPT_MAX_BYTES = 1 << 20
_AMPLITUDE = 0.2
_CRASH_EXIT_CODE = 70


class ScriptedFailure(BaseModel):
    """phrase: which one fails, counted from 1 over the engine's life. after_ms: audio that it gives before.

    stall goes on after stall_ms; all others end the phrase.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrase: int = Field(ge=1)
    after_ms: int = Field(default=0, ge=0)
    kind: Literal["unavailable", "failed", "hang", "stall", "exit"] = "failed"
    stall_ms: int = Field(default=0, ge=0, le=600_000)


class ScriptedVoice(BaseModel):
    """A voice's name and languages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=128)
    language_codes: tuple[str, ...] = ("en",)


class ScriptedPhrase(BaseModel):
    """A delay of its own for phrases that contain when_spoken, whatever the case; the first that fits counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when_spoken: str = Field(min_length=1, max_length=10_000)
    first_audio_delay_ms: Delay


class SpeechScript(BaseModel):
    """What the engine does. tone_hertz 0 is silence; real_time_factor 0 is as fast as it can.

    first_audio_delay_ms: a number, or a distribution: {"p50_ms": 80, "p95_ms": 240}.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate_hertz: int = Field(default=24_000, ge=8_000, le=48_000)
    ms_per_character: int = Field(default=60, ge=1, le=10_000)
    tone_hertz: float = Field(default=440.0, ge=0, le=20_000)
    chunk_ms: int = Field(default=100, ge=1, le=10_000)
    first_audio_delay_ms: Delay = 0
    delay_jitter_ms: int = Field(default=0, ge=0, le=600_000)
    real_time_factor: float = Field(default=0.0, ge=0, le=100)
    is_fast: bool = False
    seed: int = 0
    voices: tuple[ScriptedVoice, ...] = Field(
        default=(ScriptedVoice(name="scripted"),), min_length=1, max_length=1000
    )
    phrases: tuple[ScriptedPhrase, ...] = Field(default=(), max_length=10_000)
    failures: tuple[ScriptedFailure, ...] = ()


def read_script(path: Path) -> SpeechScript:
    """Raises Fault (FAILED_PRECONDITION) when the file is no valid script."""
    try:
        if path.stat().st_size > _SCRIPT_MAX_BYTES:
            raise faults.unusable("the script is larger than 1 MiB")
        return SpeechScript.model_validate_json(path.read_bytes())
    except OSError:
        raise faults.unusable("the script cannot be read") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise faults.unusable(f"the script is wrong at {place or 'its beginning'}: {first['msg']}") from None


class ScriptedEngine:
    """Speaks as its script says. `running_count`: phrases being made now."""

    def __init__(self, script: SpeechScript, default_voice: str = "") -> None:
        """Raises Fault when `default_voice` is not in the script."""
        self._script = script
        rate_hz = script.sample_rate_hertz
        self._voices = VoiceList(
            [
                Voice(voice.name, f"Scripted: {script.tone_hertz:g} Hz", voice.language_codes, rate_hz)
                for voice in script.voices
            ],
            default_voice,
        )
        self._failures = {failure.phrase: failure for failure in script.failures}
        self._random = random.Random(script.seed)
        self._phrase_count = 0
        self.running_count = 0
        self.capabilities = Capabilities(
            "scripted", is_fast=script.is_fast, speeds=(0.25, 4.0), pitches=(0.5, 2.0)
        )
        self.is_available = True

    def voices(self) -> Sequence[Voice]:
        """See ports."""
        return self._voices.voices

    def models(self) -> Sequence[Model]:
        """See ports."""
        return (Model("scripted", "Scripted tones for tests, not speech", (), is_loaded=True),)

    async def open(self) -> None:
        """See ports."""

    async def ensure_available(self) -> None:
        """See ports."""

    async def wait_lost(self) -> None:
        """See ports: it never is."""
        await asyncio.Event().wait()

    def open_stream(self, options: SpeechOptions) -> "ScriptedStream":
        """See ports."""
        voice = self._voices.choose(options.voice, options.language_code)
        check_ranges(options, self.capabilities)
        return ScriptedStream(self, voice, self._script, options)

    async def close(self) -> None:
        """See ports."""

    def next_failure(self) -> ScriptedFailure | None:
        """Counts a phrase; how it is to fail, if it is."""
        self._phrase_count += 1
        return self._failures.get(self._phrase_count)

    def next_delay_s(self, text: str) -> float:
        """Seconds before a phrase's first audio."""
        delay = self._script.first_audio_delay_ms
        for phrase in self._script.phrases:
            if phrase.when_spoken.lower() in text.lower():
                delay = phrase.first_audio_delay_ms
                break
        return (drawn_ms(delay, self._random) + self._random.uniform(0, self._script.delay_jitter_ms)) / 1000


class ScriptedStream:
    """See ports.SynthesisStream."""

    def __init__(
        self, engine: ScriptedEngine, voice: Voice, script: SpeechScript, options: SpeechOptions
    ) -> None:
        self._engine = engine
        self._script = script
        self._options = options
        self.voice = voice

    async def speak(self, text: str) -> AsyncGenerator[Samples | SpokenWord, None]:
        """See ports: every character lasts the same."""
        script = self._script
        failure = self._engine.next_failure()
        per_character = script.ms_per_character * script.sample_rate_hertz / 1000 / self._options.speed
        total = round(len(text) * per_character)
        stops_at = (
            total if failure is None else min(total, failure.after_ms * script.sample_rate_hertz // 1000)
        )
        self._engine.running_count += 1
        try:
            await asyncio.sleep(self._engine.next_delay_s(text))
            async for piece in self._tones(0, stops_at):
                yield piece
            if failure is not None:
                await _fail(failure)
            async for piece in self._tones(stops_at, total):
                yield piece
            for word in re.finditer(r"\S+", text):
                yield SpokenWord(word.start(), round(word.start() * per_character))
        finally:
            self._engine.running_count -= 1

    async def _tones(self, first: int, end: int) -> AsyncGenerator[Samples, None]:
        rate_hz = self._script.sample_rate_hertz
        chunk = self._script.chunk_ms * rate_hz // 1000
        for start in range(first, end, chunk):
            count = min(chunk, end - start)
            await asyncio.sleep(count / rate_hz * self._script.real_time_factor)
            yield self._tone(start, count)

    def _tone(self, start: int, count: int) -> Samples:
        tone_hz = self._script.tone_hertz * self._options.pitch
        phase = 2 * np.pi * tone_hz / self._script.sample_rate_hertz * np.arange(start, start + count)
        samples: Samples = (_AMPLITUDE * np.sin(phase)).astype(np.float32)
        return samples


async def _fail(failure: ScriptedFailure) -> None:
    if failure.kind == "exit":
        os._exit(_CRASH_EXIT_CODE)
    if failure.kind == "hang":
        await asyncio.Event().wait()
    if failure.kind == "stall":
        await asyncio.sleep(failure.stall_ms / 1000)
        return
    if failure.kind == "unavailable":
        raise faults.engine_unavailable("scripted: unavailable")
    raise faults.phrase_failed("scripted: failed")
