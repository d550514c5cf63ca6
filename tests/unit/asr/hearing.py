"""Runs a `Recognition` over made-up audio in virtual time and collects what it tells."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from parley_asr.engines.scripted import LevelDetector, Script, ScriptedEngine
from parley_asr.events import (
    AudioAcknowledged,
    RecognitionEvent,
    SpeechActivityChanged,
    TranscriptChanged,
    TranscriptFinished,
    UtteranceFailed,
)
from parley_asr.ports import (
    SAMPLE_RATE_HZ,
    Hypothesis,
    ModelCapabilities,
    RecognitionEngine,
    Samples,
    StreamRequest,
    TimedWord,
)
from parley_asr.recognition import Recognition, RecognitionLimits
from parley_asr.voice_activity import Endpointing

DEFAULT_ENDPOINTING = Endpointing()
DEFAULT_LIMITS = RecognitionLimits()


def silence(duration_ms: int) -> Samples:
    return np.zeros(duration_ms * SAMPLE_RATE_HZ // 1000, dtype=np.float32)


def speech(duration_ms: int, level: float = 0.5) -> Samples:
    """Loud enough for the level detector, every sample different so that order and loss show."""
    count = duration_ms * SAMPLE_RATE_HZ // 1000
    return (level * (1 + np.arange(count) / max(1, count) / 2)).astype(np.float32)


def scripted(*texts: str, **options: object) -> ScriptedEngine:
    utterances = [{"text": text} for text in texts]
    return ScriptedEngine(Script.model_validate({"utterances": utterances, **options}))


@dataclass
class RecordingEngine:
    """A recogniser that remembers exactly what it was given; every half second of it is a word."""

    heard: list[Samples] = field(default_factory=list)
    closed_count: int = 0
    capabilities = ModelCapabilities("recording", "", ("en",))

    async def open_stream(self, request: StreamRequest) -> "RecordingStream":
        self.heard.append(silence(0))
        return RecordingStream(self, len(self.heard) - 1)

    async def close(self) -> None:
        pass


@dataclass
class RecordingStream:
    engine: RecordingEngine
    index: int

    async def decode(self, samples: Samples) -> str:
        self.engine.heard[self.index] = np.concatenate((self.engine.heard[self.index], samples))
        return ""

    async def finish(self) -> Hypothesis:
        count = len(self.engine.heard[self.index])
        words = tuple(TimedWord("w", at, min(at + 8000, count)) for at in range(0, count, 8000))
        return Hypothesis("w " * len(words), words)

    def close(self) -> None:
        self.engine.closed_count += 1


@dataclass
class Hearing:
    """A recognition, its events, and a clock that only moves with `now_s`."""

    events: list[RecognitionEvent] = field(default_factory=list)
    now_s: float = 0.0

    async def open(
        self, engine: RecognitionEngine, endpointing: Endpointing, limits: RecognitionLimits
    ) -> Recognition:
        async def emit(event: RecognitionEvent) -> None:
            self.events.append(event)

        return await Recognition.open(
            engine, LevelDetector(), endpointing, emit, lambda: self.now_s, limits=limits
        )

    def told(self) -> list[str]:
        """The events as words, acknowledgements left out."""
        return [_word(event) for event in self.events if not isinstance(event, AudioAcknowledged)]

    def finals(self) -> list[TranscriptFinished]:
        return [event for event in self.events if isinstance(event, TranscriptFinished)]


def _word(event: RecognitionEvent) -> str:
    match event:
        case SpeechActivityChanged(activity):
            return activity.kind.value
        case TranscriptChanged(text=text):
            return f"partial:{text}"
        case TranscriptFinished(text=text):
            return f"final:{text}"
        case UtteranceFailed(fault=fault):
            return f"failed:{fault.reason}"
        case AudioAcknowledged():
            return "acknowledged"


async def hear(
    audio: Sequence[Samples],
    engine: RecognitionEngine,
    endpointing: Endpointing = DEFAULT_ENDPOINTING,
    limits: RecognitionLimits = DEFAULT_LIMITS,
    chunk_sample_count: int = 1600,
) -> Hearing:
    """Everything a recognition tells about this audio, handed over in chunks, and then ended."""
    hearing = Hearing()
    recognition = await hearing.open(engine, endpointing, limits)
    samples = np.concatenate(audio) if audio else silence(0)
    for start in range(0, len(samples), chunk_sample_count):
        await recognition.accept(samples[start : start + chunk_sample_count])
    await recognition.finish()
    recognition.close()
    return hearing
