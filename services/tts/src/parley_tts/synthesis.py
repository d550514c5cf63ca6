"""`Synthesis`: one request: text as it is written in, phrase marks and audio out. No wire, no engine inside.

Called by `servicer`. A maker task cuts phrases and has them spoken, at most one ahead of the phrase being sent;
`run` sends. A phrase that was begun is made at the engine's speed, however slowly the caller reads, so that
nobody keeps an engine waiting; how far ahead phrases are begun is bounded.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from parley_audio.pcm import AudioFormat
from parley_servicekit.faults import Fault
from parley_tts import faults
from parley_tts.audio_output import AudioOutput, EncodedAudio, PhraseShaper
from parley_tts.phrases import Phrase, PhraseCutter
from parley_tts.ports import Capabilities, Samples, SpokenWord, SynthesisStream

_SENTENCE_PAUSE_MS = 150
_CLAUSE_PAUSE_MS = 50
# No further phrase is begun while this much audio waits to be sent.
_LOOK_AHEAD_S = 3.0
_LOOK_AHEAD_PHRASES = 1
# The longest phrase, spoken digit by digit at the lowest speed, stays below it.
_PHRASE_AUDIO_MAX_S = 300
_PENDING_TEXT_MAX_CHARS = 1 << 16


@dataclass(frozen=True, slots=True)
class MarkedWord:
    """text_offset: in the phrase's text, in characters; start_sample: of the stream, at the output rate."""

    text_offset: int
    start_sample: int


@dataclass(frozen=True, slots=True)
class PhraseMarked:
    """A phrase begins at a sample of the stream. sample_count: None while it is being made."""

    index: int
    text: str
    start_sample: int
    sample_count: int | None
    words: tuple[MarkedWord, ...] = ()


@dataclass(frozen=True, slots=True)
class PhraseFailed:
    """A phrase could not be spoken, or not to its end."""

    index: int
    fault: Fault


Result = PhraseMarked | EncodedAudio | PhraseFailed
Send = Callable[[Result], Awaitable[None]]
PhraseMade = Callable[[float, float], None]
"""Called with the seconds that making a phrase took and the seconds that it plays."""


@dataclass(frozen=True, slots=True)
class Limits:
    """phrase_timeout_ms: longest making of one phrase, waiting for the engine included."""

    phrase_timeout_ms: int = 60_000


class Synthesis:
    """`push` text, `finish` it, and `run` meanwhile; results go to `send` in order."""

    def __init__(
        self,
        stream: SynthesisStream,
        capabilities: Capabilities,
        audio_format: AudioFormat,
        send: Send,
        *,
        gain: float = 1.0,
        limits: Limits | None = None,
        phrase_made: PhraseMade = lambda _taken_s, _played_s: None,
    ) -> None:
        """Raises AudioError for a format that cannot be written."""
        self._stream = stream
        self._capabilities = capabilities
        self._output = AudioOutput(audio_format)
        self._send = send
        self._gain = gain
        self._limits = limits or Limits()
        self._phrase_made = phrase_made
        self._cutter = PhraseCutter()
        self._text_came = asyncio.Event()
        self._made_came = asyncio.Event()
        self._room_came = asyncio.Event()
        self._sending_moved = asyncio.Event()
        self._unsent: deque[_MadePhrase] = deque()  # the first one is being sent
        self._is_all_made = False
        self._pause_ms = 0
        self.spoken_phrase_count = 0

    def push(self, text: str) -> None:
        """More text."""
        self._cutter.push(text)
        self._text_came.set()

    def finish(self) -> None:
        """No more text."""
        self._cutter.finish()
        self._text_came.set()

    @property
    def pending_chars(self) -> int:
        """Characters pushed that are not yet part of a phrase."""
        return self._cutter.pending_chars

    async def wait_room(self) -> None:
        """Return when more text may be pushed."""
        while self.pending_chars >= _PENDING_TEXT_MAX_CHARS:
            self._room_came.clear()
            await self._room_came.wait()

    async def run(self) -> int:
        """Speak until all text is spoken; the result is the stream's length in samples.

        Raises what `send` raises. Cancelling it stops the engine.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._make_phrases(), name="phrase maker")
            while (made := await self._next_made()) is not None:
                await self._send_phrase(made)
                self._unsent.popleft()
                self._sending_moved.set()
            for audio in self._output.finish():
                await self._send(audio)
        return self._output.sent_sample_count

    async def _make_phrases(self) -> None:
        while (phrase := await self._next_phrase()) is not None:
            await self._wait_turn()
            made = _MadePhrase(phrase, self._stream.voice.sample_rate_hz)
            self._unsent.append(made)
            self._made_came.set()
            await self._make(made)
        self._is_all_made = True
        self._made_came.set()

    async def _next_phrase(self) -> Phrase | None:
        """The next phrase as soon as the text tells it; None at the end."""
        while True:
            phrase = self._cutter.next_phrase()
            if phrase is not None:
                self._room_came.set()
                return phrase
            if self._cutter.is_exhausted:
                return None
            self._text_came.clear()
            await self._text_came.wait()

    async def _wait_turn(self) -> None:
        """Until there is little enough that was made and not sent."""
        while (
            len(self._unsent) > _LOOK_AHEAD_PHRASES
            or sum(made.unsent_s for made in self._unsent) > _LOOK_AHEAD_S
        ):
            self._sending_moved.clear()
            await self._sending_moved.wait()

    async def _make(self, made: "_MadePhrase") -> None:
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(self._limits.phrase_timeout_ms / 1000):
                await self._speak(made)
        except TimeoutError:
            made.fault = faults.phrase_too_slow(self._limits.phrase_timeout_ms)
        except Fault as fault:
            made.fault = fault
        made.finish()
        if made.sample_count:
            self.spoken_phrase_count += 1
            self._phrase_made(time.monotonic() - began_at, made.sample_count / made.sample_rate_hz)

    async def _speak(self, made: "_MadePhrase") -> None:
        text = made.phrase.spoken.text
        if not text:
            return
        async with aclosing(self._stream.speak(text)) as pieces:
            async for piece in pieces:
                made.add(piece)
                if made.sample_count > _PHRASE_AUDIO_MAX_S * made.sample_rate_hz:
                    raise faults.phrase_too_long(_PHRASE_AUDIO_MAX_S)

    async def _next_made(self) -> "_MadePhrase | None":
        while not self._unsent:
            if self._is_all_made:
                return None
            self._made_came.clear()
            await self._made_came.wait()
        return self._unsent[0]

    async def _send_phrase(self, made: "_MadePhrase") -> None:
        if self._capabilities.is_fast:
            await made.wait_done()
        elif self._pause_ms:  # only a phrase that is heard is paused before
            await made.wait_begun()
        if made.sample_count and self._pause_ms:
            await self._send_all(self._output.silence(self._pause_ms))
            await self._send_all(self._output.end_phrase())
        start = self._output.next_sample
        shaper = PhraseShaper(made.sample_rate_hz, self._output.sample_rate_hz, self._gain)
        was_marked_whole = made.is_done
        await self._mark(made, start, shaper)
        while (samples := await made.next_samples()) is not None:
            await self._send_all(self._output.push(shaper.push(samples)))
            self._sending_moved.set()
        if made.sample_count:
            await self._send_all(self._output.push(shaper.finish()))
            await self._send_all(self._output.end_phrase())
            self._pause_ms = self._pause_after(made.phrase)
        if not was_marked_whole:
            await self._mark(made, start, shaper)
        if made.fault is not None:
            await self._send(PhraseFailed(made.phrase.index, made.fault))

    async def _mark(self, made: "_MadePhrase", start: int, shaper: PhraseShaper) -> None:
        phrase = made.phrase
        if not made.is_done:
            await self._send(PhraseMarked(phrase.index, phrase.text, start, None))
            return
        words = tuple(
            MarkedWord(
                phrase.spoken.offsets[word.text_offset], start + shaper.output_count(word.sample_offset)
            )
            for word in made.words
            if word.text_offset < len(phrase.spoken.offsets)
        )
        count = shaper.output_count(made.sample_count)
        await self._send(PhraseMarked(phrase.index, phrase.text, start, count, words))

    def _pause_after(self, phrase: Phrase) -> int:
        if self._capabilities.pauses_after_sentence:
            return 0
        return _SENTENCE_PAUSE_MS if phrase.ends_sentence else _CLAUSE_PAUSE_MS

    async def _send_all(self, audios: Iterable[EncodedAudio]) -> None:
        for audio in audios:
            await self._send(audio)


class _MadePhrase:
    """A phrase and its speech, as far as it is made."""

    def __init__(self, phrase: Phrase, sample_rate_hz: int) -> None:
        self.phrase = phrase
        self.sample_rate_hz = sample_rate_hz
        self.words: list[SpokenWord] = []
        self.sample_count = 0
        self.is_done = False
        self.fault: Fault | None = None
        self._pieces: deque[Samples] = deque()
        self._taken_count = 0
        self._changed = asyncio.Event()

    @property
    def unsent_s(self) -> float:
        return (self.sample_count - self._taken_count) / self.sample_rate_hz

    def add(self, piece: Samples | SpokenWord) -> None:
        if isinstance(piece, SpokenWord):
            self.words.append(piece)
        elif len(piece):
            step = self.sample_rate_hz // 10  # an engine may give a sentence at once: no long work in one go
            self._pieces.extend(piece[start : start + step] for start in range(0, len(piece), step))
            self.sample_count += len(piece)
            self._changed.set()

    def finish(self) -> None:
        self.is_done = True
        self._changed.set()

    async def wait_begun(self) -> None:
        while not self.sample_count and not self.is_done:
            await self._wait()

    async def wait_done(self) -> None:
        while not self.is_done:
            await self._wait()

    async def next_samples(self) -> Samples | None:
        """The next piece as the engine made it; None at the end."""
        while not self._pieces:
            if self.is_done:
                return None
            await self._wait()
        samples = self._pieces.popleft()
        self._taken_count += len(samples)
        return samples

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
