"""What the service needs of a recognition library and of a voice activity detector. Implemented in
`engines/`.

An engine is heavy, shared by all streams and opened once by `bootstrap`; a stream is light and belongs to one
utterance (recogniser) or one live recognition (detector). Engines raise `Fault` and nothing else for what
they cannot do.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
"""The only rate that engines see."""
WINDOW_SAMPLE_COUNT = 512
"""What a voice activity detector judges at once: 32 ms."""

Samples = npt.NDArray[np.float32]
"""Shape (sample_count,), mono at SAMPLE_RATE_HZ, finite, in [-1, 1], C-contiguous."""


@dataclass(frozen=True)
class ModelCapabilities:
    """What the loaded model is. language_codes: BCP-47, empty = not known. size_bytes: 0 = not known."""

    name: str
    description: str
    language_codes: tuple[str, ...]
    is_streaming: bool = True
    supports_hot_words: bool = False
    size_bytes: int = 0


@dataclass(frozen=True)
class StreamRequest:
    """What an utterance is recognised with. utterance_index counts within one live recognition."""

    utterance_index: int = 0
    hot_words: tuple[str, ...] = ()


@dataclass(frozen=True)
class TimedWord:
    """A word and where it lies, in samples from the first one that the stream was given."""

    text: str
    start_sample: int
    end_sample: int


@dataclass(frozen=True)
class Hypothesis:
    """What an utterance was understood as. words: empty where the model gives no times."""

    text: str
    words: tuple[TimedWord, ...] = ()


class RecognitionStream(Protocol):
    """One utterance. Calls come one after the other, never two at once."""

    async def decode(self, samples: Samples) -> str:
        """Hear these samples too; the text understood so far."""
        ...

    async def finish(self) -> Hypothesis:
        """Nothing follows; all of it. Called at most once, and nothing but `close` after it."""
        ...

    def close(self) -> None:
        """Give the stream up, also after one of its calls was cancelled. Doing it again does nothing."""
        ...


class RecognitionEngine(Protocol):
    """A loaded recognition model."""

    @property
    def capabilities(self) -> ModelCapabilities:
        """What it is and can do."""
        ...

    async def open_stream(self, request: StreamRequest) -> RecognitionStream:
        """A stream for one utterance."""
        ...

    async def close(self) -> None:
        """Give the model up; its streams fail from now on."""
        ...


class VoiceActivityStream(Protocol):
    """The ear of one live recognition. Calls come one after the other."""

    async def detect(self, windows: Samples) -> list[bool]:
        """Whether each of the windows holds speech; `windows` is a whole number of WINDOW_SAMPLE_COUNT."""
        ...

    def close(self) -> None:
        """Give the stream up, also after one of its calls was cancelled."""
        ...


class VoiceActivityEngine(Protocol):
    """A voice activity detector."""

    @property
    def onset_delay_window_count(self) -> int:
        """How many windows late the first speech window is reported."""
        ...

    async def open_stream(self, speech_threshold: float) -> VoiceActivityStream:
        """speech_threshold: probability of speech from which a window counts as speech, 0.05 to 0.95."""
        ...

    async def close(self) -> None:
        """Give the model up; its streams fail from now on."""
        ...
