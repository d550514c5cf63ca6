"""An engine that hears what a script says: for tests, load and chaos. Shipped; `PARLEY_ASR_ENGINE=scripted`.

The script is a JSON file:

    {"seed": 1, "language": "en", "word_ms": 250, "decode_ms": 0, "finish_ms": 0, "jitter_ms": 0,
     "utterances": [{"text": "what is the time"},
                    {"text": "", "finish_ms": 400},
                    {"text": "never mind", "failure": "fault", "failure_at_ms": 300}]}

Utterance n of every live recognition is heard as the n-th entry, over and over again. A partial shows one
word more per `word_ms` of audio. `decode_ms` and `finish_ms` are how slow the engine is, at most `jitter_ms`
slower by chance (from `seed`); they may be distributions too, such as {"p50_ms": 80, "p95_ms": 240}.
`failure` happens once `failure_at_ms` of the utterance has been fed, or at its end: `fault` (the utterance
fails), `hang` (no answer) or `crash` (the process ends).

Its detector hears speech wherever the level of a window reaches -40 dBFS at the default threshold.
"""

import asyncio
import os
import random
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parley_asr import faults
from parley_asr.ports import (
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLE_COUNT,
    Hypothesis,
    ModelCapabilities,
    Samples,
    StreamRequest,
    TimedWord,
)
from parley_servicekit.scripted_delays import Delay, drawn_ms

_SCRIPT_MAX_BYTES = 1 << 20
_LEVEL_AT_DEFAULT_THRESHOLD = 0.01  # -40 dBFS
_CRASH_EXIT_CODE = 70


class ScriptedUtterance(BaseModel):
    """What is heard once. None = as the script says for all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field("", max_length=10_000)
    decode_ms: Delay | None = None
    finish_ms: Delay | None = None
    failure: Literal["fault", "hang", "crash"] | None = None
    failure_at_ms: int | None = Field(None, ge=0, le=600_000)


class Script(BaseModel):
    """The whole script; see the module's docstring."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    language: str = Field("en", min_length=2, max_length=35)
    word_ms: int = Field(250, ge=1, le=60_000)
    decode_ms: Delay = 0
    finish_ms: Delay = 0
    jitter_ms: int = Field(0, ge=0, le=600_000)
    utterances: tuple[ScriptedUtterance, ...] = Field(min_length=1, max_length=10_000)


def read_script(path: Path) -> Script:
    """The script in a file. Raises Fault (FAILED_PRECONDITION) naming what is wrong."""
    try:
        content = path.read_bytes()
        if len(content) > _SCRIPT_MAX_BYTES:
            raise faults.unusable_model(f"the script {path.name} is larger than {_SCRIPT_MAX_BYTES} bytes")
        return Script.model_validate_json(content)
    except OSError as error:
        raise faults.unusable_model(f"the script {path.name} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise faults.unusable_model(f"the script {path.name} is wrong at {place}: {first['msg']}") from None


class ScriptedEngine:
    """Implements `RecognitionEngine` by a script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._random = random.Random(script.seed)
        self.capabilities = ModelCapabilities(
            name="scripted",
            description="Hears what a script says, not what is said: for tests and load.",
            language_codes=(script.language,),
        )

    async def open_stream(self, request: StreamRequest) -> "ScriptedStream":
        """The next entry of the script."""
        utterances = self._script.utterances
        return ScriptedStream(
            self._script, utterances[request.utterance_index % len(utterances)], self._random
        )

    async def close(self) -> None:
        """Nothing to give back."""


class ScriptedStream:
    """Implements `RecognitionStream` for one utterance of the script."""

    def __init__(self, script: Script, utterance: ScriptedUtterance, chance: random.Random) -> None:
        self._script = script
        self._utterance = utterance
        self._random = chance
        self._words = utterance.text.split()
        self._sample_count = 0

    async def decode(self, samples: Samples) -> str:
        """As many words as the audio is long."""
        self._sample_count += len(samples)
        failure_at_ms = self._utterance.failure_at_ms
        if failure_at_ms is not None and self._heard_ms >= failure_at_ms:
            await self._fail()
        await self._wait(self._utterance.decode_ms, self._script.decode_ms)
        return " ".join(self._words[: self._heard_ms // self._script.word_ms])

    async def finish(self) -> Hypothesis:
        """All words, spread evenly."""
        await self._fail()
        await self._wait(self._utterance.finish_ms, self._script.finish_ms)
        step = min(
            self._script.word_ms * SAMPLE_RATE_HZ // 1000, self._sample_count // max(1, len(self._words))
        )
        words = tuple(
            TimedWord(word, index * step, (index + 1) * step) for index, word in enumerate(self._words)
        )
        return Hypothesis(" ".join(self._words), words)

    def close(self) -> None:
        """Nothing to give back."""

    @property
    def _heard_ms(self) -> int:
        return self._sample_count * 1000 // SAMPLE_RATE_HZ

    async def _wait(self, own: Delay | None, common: Delay) -> None:
        slow_ms = drawn_ms(common if own is None else own, self._random)
        if self._script.jitter_ms:
            slow_ms += self._random.randint(0, self._script.jitter_ms)
        if slow_ms:
            await asyncio.sleep(slow_ms / 1000)

    async def _fail(self) -> None:
        failure = self._utterance.failure
        if failure == "fault":
            raise faults.decoding_failed()
        if failure == "hang":
            await asyncio.Event().wait()
        if failure == "crash":
            os._exit(_CRASH_EXIT_CODE)


class LevelDetector:
    """Implements `VoiceActivityEngine` by loudness alone. Not for people: any noise is speech to it."""

    onset_delay_window_count = 0

    async def open_stream(self, speech_threshold: float) -> "LevelDetectorStream":
        """The threshold scales the level."""
        return LevelDetectorStream(_LEVEL_AT_DEFAULT_THRESHOLD * speech_threshold / 0.5)

    async def close(self) -> None:
        """Nothing to give back."""


class LevelDetectorStream:
    """Implements `VoiceActivityStream`."""

    def __init__(self, level: float) -> None:
        """level: root mean square from which a window counts as speech."""
        self._level = level

    async def detect(self, windows: Samples) -> list[bool]:
        """Whether each window is loud enough."""
        levels = np.sqrt(np.mean(np.square(windows.reshape(-1, WINDOW_SAMPLE_COUNT)), axis=1))
        return [bool(answer) for answer in levels >= self._level]

    def close(self) -> None:
        """Nothing to give back."""
