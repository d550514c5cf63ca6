"""The three services of a session in memory: they do what a script says, and remember what was asked of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from parley_gateway.ports import (
    AnswerFinished,
    Audio,
    GenerationRequest,
    ListeningRequest,
    Phrase,
    PhraseFailed,
    RecognitionEvent,
    SpeakingRequest,
    SpeechFinished,
    TextDelta,
)
from parley_servicekit.faults import Fault

FINISH, DISCARD = "finish", "discard"
CHARACTER_MS = 50.0
CHUNK_MS = 40.0


@dataclass
class RecognitionDouble:
    """One stream: `received` holds audio and requests in order, `tell` makes it speak, `fail` ends it."""

    request: ListeningRequest
    is_frozen: bool = False
    is_slow: bool = False
    is_closed: bool = False
    received: list[Audio | str] = field(default_factory=list)
    traceparents: list[str] = field(default_factory=list)
    at_once: list[Audio] = field(default_factory=list)
    _told: asyncio.Queue[RecognitionEvent | Fault | None] = field(default_factory=asyncio.Queue)

    def tell(self, *events: RecognitionEvent) -> None:
        for event in events:
            self._told.put_nowait(event)

    def fail(self, fault: Fault | None) -> None:
        """None: the service just ends the stream."""
        self._told.put_nowait(fault)

    async def send(self, audio: Audio) -> None:
        await self._take(audio)

    def send_now(self, audio: Audio, *, may_wait: bool) -> bool:
        if self.is_frozen or self.is_slow:
            return False
        self.received.append(audio)
        if not may_wait:
            self.at_once.append(audio)
        return True

    def belongs_to(self, traceparent: str) -> None:
        self.traceparents.append(traceparent)

    async def finish_utterance(self) -> None:
        await self._take(FINISH)

    async def discard_utterance(self) -> None:
        await self._take(DISCARD)

    async def events(self) -> AsyncIterator[RecognitionEvent]:
        while (event := await self._told.get()) is not None:
            if isinstance(event, Fault):
                raise event
            yield event

    async def _take(self, item: Audio | str) -> None:
        if self.is_frozen:
            await asyncio.sleep(1e6)
        self.received.append(item)


class SpeechToTextDouble:
    """`open_faults` come first, one an attempt; a float instead is how long opening takes."""

    def __init__(self, *open_faults: Fault | float) -> None:
        self.streams: list[RecognitionDouble] = []
        self.attempt_count = 0
        self._open_faults = list(open_faults)

    @property
    def stream(self) -> RecognitionDouble:
        return self.streams[-1]

    @asynccontextmanager
    async def open_stream(self, request: ListeningRequest) -> AsyncIterator[RecognitionDouble]:
        self.attempt_count += 1
        trouble = self._open_faults.pop(0) if self._open_faults else 0.0
        if isinstance(trouble, Fault):
            raise trouble
        await asyncio.sleep(trouble)
        self.streams.append(RecognitionDouble(request))
        try:
            yield self.stream
        finally:
            self.stream.is_closed = True


class ChatModelDouble:
    """Answers each request with `script`: text is a delta, a number a pause in seconds, a Fault is raised."""

    def __init__(self, *script: str | float | Fault) -> None:
        self.script: Sequence[str | float | Fault] = script or ("Good morning. ", "How are you?")
        self.requests: list[GenerationRequest] = []
        self.running_count = 0

    async def answer(self, request: GenerationRequest) -> AsyncIterator[TextDelta | AnswerFinished]:
        self.requests.append(request)
        self.running_count += 1
        try:
            for step in self.script:
                if isinstance(step, Fault):
                    raise step
                if isinstance(step, str):
                    yield TextDelta(step)
                else:
                    await asyncio.sleep(step)
            yield AnswerFinished(7, len(self.script))
        finally:
            self.running_count -= 1


class TextToSpeechDouble:
    """Speaks each text as a phrase, 50 ms a character in chunks of 40 ms, as fast as it is taken.

    fault: raised before the phrase of index `fault_index`. pause_s: before each phrase. open_s, end_s: how long opening
    and ending the text take. whole_count: streams that were still open when their text had ended.
    """

    def __init__(
        self,
        *,
        fault: Fault | None = None,
        fault_index: int = 0,
        pause_s: float = 0.0,
        open_s: float = 0.0,
        end_s: float = 0.0,
    ) -> None:
        self.fault = fault
        self.open_s, self.end_s = open_s, end_s
        self.whole_count = 0
        self.fault_index = fault_index
        self.pause_s = pause_s
        self.running_count = 0
        self.requests: list[SpeakingRequest] = []

    @asynccontextmanager
    async def open_stream(self, request: SpeakingRequest) -> AsyncIterator["SynthesisDouble"]:
        self.requests.append(request)
        self.running_count += 1
        try:
            await asyncio.sleep(self.open_s)
            yield SynthesisDouble(self)
        finally:
            self.running_count -= 1


class SynthesisDouble:
    def __init__(self, owner: TextToSpeechDouble) -> None:
        self._owner = owner
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()

    async def send_text(self, text: str) -> None:
        self._texts.put_nowait(text)

    async def end_text(self) -> None:
        self._texts.put_nowait(None)
        await asyncio.sleep(self._owner.end_s)
        self._owner.whole_count += self._owner.running_count

    async def results(self) -> AsyncIterator[Phrase | Audio | PhraseFailed | SpeechFinished]:
        index, end_ms = 0, 0.0
        while (text := await self._texts.get()) is not None:
            await asyncio.sleep(self._owner.pause_s)
            if self._owner.fault is not None and index == self._owner.fault_index:
                raise self._owner.fault
            start_ms, duration_ms = end_ms, len(text) * CHARACTER_MS
            yield Phrase(index, text, start_ms, None)
            while end_ms < start_ms + duration_ms:
                chunk_ms = min(CHUNK_MS, start_ms + duration_ms - end_ms)
                yield Audio((bytes(round(chunk_ms * 48)),), end_ms, chunk_ms)
                end_ms += chunk_ms
            yield Phrase(index, text, start_ms, duration_ms)
            index += 1
        yield SpeechFinished(end_ms)
