"""What the tts service needs of a speech engine. `synthesis` works on these, `engines` implement them.

An engine is heavy, shared by all requests and opened once by `bootstrap`; a stream is light and belongs to
one request. Engines raise `Fault` and nothing else for what they cannot do.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Shape (sample_count,), mono, in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of an engine. language_codes: BCP-47, its own language first."""

    name: str
    description: str
    language_codes: tuple[str, ...]
    sample_rate_hz: int


@dataclass(frozen=True, slots=True)
class Model:
    """A model of an engine. size_bytes: on disk, 0 = not known."""

    name: str
    description: str
    language_codes: tuple[str, ...]
    is_loaded: bool
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do.

    is_fast: a phrase takes far less time to make than to play, so it is made whole before it is sent.
    speeds, pitches: what it honours, lowest and highest, as factors of the voice's own.
    pauses_after_sentence: its audio ends with the pause that belongs there; otherwise `synthesis` adds one.
    """

    name: str
    is_fast: bool
    speeds: tuple[float, float] = (1.0, 1.0)
    pitches: tuple[float, float] = (1.0, 1.0)
    pauses_after_sentence: bool = False


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How to speak. voice, language_code: empty = the engine's choice. seed: None = the engine's."""

    voice: str = ""
    language_code: str = ""
    speed: float = 1.0
    pitch: float = 1.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word begins. text_offset: its first character in the spoken text; sample_offset: from the phrase's
    first sample, at the voice's rate."""

    text_offset: int
    sample_offset: int


class SynthesisStream(Protocol):
    """One request's use of an engine: phrases with one voice, one after another."""

    @property
    def voice(self) -> Voice:
        """Who speaks."""

    def speak(self, text: str) -> AsyncGenerator[Samples | SpokenWord, None]:
        """The speech of one phrase, in order, as it is made. `text` is `Spoken.text` and never empty.

        Closing or cancelling the generator stops the engine and frees its slot at once. Raises Fault, before
        or amid the audio.
        """


class SynthesisEngine(Protocol):
    """A speech library, child process or server."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; fixed once `open` has returned."""

    @property
    def is_available(self) -> bool:
        """Whether phrases can be spoken now, as far as is known."""

    def voices(self) -> Sequence[Voice]:
        """Its voices, the default one first."""

    def models(self) -> Sequence[Model]:
        """Its models, the default one first."""

    async def open(self) -> None:
        """Load. Raises Fault (FAILED_PRECONDITION) where only a change by the operator helps."""

    async def ensure_available(self) -> None:
        """Make phrases possible again: restart children, reach the server. Raises Fault when it cannot."""

    async def wait_lost(self) -> None:
        """Return as soon as `ensure_available` is needed; may never return."""

    def open_stream(self, options: SpeechOptions) -> SynthesisStream:
        """A stream with the voice asked for. Raises Fault naming `synthesis.<field>`; does no I/O."""

    async def close(self) -> None:
        """Give everything back; the engine is not used afterwards."""
