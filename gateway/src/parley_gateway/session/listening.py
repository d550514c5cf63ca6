"""`Listening`: the session's ear. Keeps one recognition stream open, and opens it anew when it fails."""

import asyncio
import enum
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from parley_gateway.ports import (
    Audio,
    Heard,
    ListeningRequest,
    RecognitionEvent,
    RecognitionStream,
    SpeechBegan,
    SpeechHalted,
    SpeechOver,
    SpeechToText,
    UtteranceFailed,
)
from parley_gateway.session.stream_places import StreamPlaces
from parley_servicekit.faults import Fault, FaultCode, fault_in
from parley_servicekit.logs import get_logger

_log = get_logger()

# Audio that may wait for a recogniser that holds back: 8 s of 16 kHz PCM. A live client is not held up by a recogniser
# that hangs before the stall is noticed; one that sends faster than real time is.
_WAITING_MAX_BYTES = 256 * 1024
_STALL_S = 5.0
_OPEN_S = 0.8
_RETRY_FIRST_S, _RETRY_LONGEST_S = 0.1, 1.0


class _Request(enum.Enum):
    """What is asked of the recogniser about the utterance, in order with the audio."""

    FINISH = enum.auto()
    DISCARD = enum.auto()


@dataclass(frozen=True, slots=True)
class _Trace:
    """What the recogniser is to know about the utterance."""

    traceparent: str


class _RefusedError(Exception):
    """The service calls the request itself wrong: no use in trying again."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class Listening:
    """Audio in, recognition events out, across failures of the asr service.

    on_event gets events with offsets from the session's first input sample. on_state hears None when recognition
    works (again), or the fault with which it went away; until it is back, audio is dropped.
    """

    def __init__(
        self,
        speech_to_text: SpeechToText,
        request: ListeningRequest,
        on_event: Callable[[RecognitionEvent], Awaitable[None]],
        on_state: Callable[[Fault | None], Awaitable[None]],
    ) -> None:
        self._speech_to_text = speech_to_text
        self._request = request
        self._on_event = on_event
        self._on_state = on_state
        self._waiting: deque[Audio | _Request | _Trace] = deque()
        self._waiting_bytes = 0
        self._has_work = asyncio.Event()
        self._has_room = asyncio.Event()
        self._stream: RecognitionStream | None = None
        self._is_sending = False
        self._places = StreamPlaces(bridges_gaps=request.is_manual)
        self._is_final_due = False
        self._is_final_void = False
        self._is_paused = False
        self._retry_s = _RETRY_FIRST_S

    async def hear(self, audio: Audio) -> None:
        """Pass input audio on; waits while the recogniser holds back, for at most 5 s, and drops it then."""
        if self._waiting_bytes >= _WAITING_MAX_BYTES and not await self._gets_room():
            return
        if self._stream is None:
            return
        placed = self._places.placed_audio(audio)
        # Without a detour through the sending task, 50 times a second and session, unless something is to wait for.
        may_wait = not self._is_paused
        if self._waiting or self._is_sending or not self._stream.send_now(placed, may_wait=may_wait):
            self._waiting_bytes += _size_bytes(placed)
            self._put(placed)

    def finish_utterance(self) -> bool:
        """End the utterance: a final `Heard` follows, or UtteranceFailed. False: recognition is away, nothing does."""
        self._put(_Request.FINISH)
        return self._stream is not None

    def discard_utterance(self) -> None:
        """Forget the utterance."""
        self._is_paused = False
        self._put(_Request.DISCARD)

    def belongs_to(self, traceparent: str) -> None:
        """What is being said belongs to this trace."""
        self._put(_Trace(traceparent))

    async def run(self) -> None:
        """Until cancelled. Refused configs end it: raises the Fault when the service calls the request wrong."""
        is_down: bool | None = None
        while True:
            try:
                async with AsyncExitStack() as stack:
                    stream = await self._open(stack)
                    if is_down is not False:
                        await self._on_state(None)
                    is_down = False
                    await self._converse(stream)
            except _RefusedError as error:
                raise error.fault from error
            except Exception as error:
                fault = fault_in(error) or Fault.internal()
                if fault_in(error) is None:
                    _log.error("listening.failed_unexpectedly", exc_info=error)
            self._close()
            if is_down is not True:
                await self._on_state(fault)
            is_down = True
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(2 * self._retry_s, _RETRY_LONGEST_S)

    async def _open(self, stack: AsyncExitStack) -> RecognitionStream:
        try:
            async with asyncio.timeout(_OPEN_S):
                stream = await stack.enter_async_context(self._speech_to_text.open_stream(self._request))
        except TimeoutError:
            raise Fault.unavailable("ASR_UNAVAILABLE", "the asr service does not answer") from None
        except Fault as fault:
            if fault.code in (FaultCode.INVALID_ARGUMENT, FaultCode.NOT_FOUND):
                raise _RefusedError(fault) from fault
            raise
        # A stream counts its offsets from its own first sample; nothing that waited for the one before is for it.
        self._places = StreamPlaces(bridges_gaps=self._request.is_manual)
        self._is_final_due = self._is_final_void = self._is_paused = False
        self._stream = stream
        return stream

    def _close(self) -> None:
        self._stream = None
        self._waiting.clear()
        self._waiting_bytes = 0
        self._has_room.set()

    async def _gets_room(self) -> bool:
        """Wait until less is waiting; False when that takes too long."""
        try:
            async with asyncio.timeout(_STALL_S):
                while self._waiting_bytes >= _WAITING_MAX_BYTES:
                    self._has_room.clear()
                    await self._has_room.wait()
        except TimeoutError:
            return False
        return True

    def _put(self, item: Audio | _Request | _Trace) -> None:
        if self._stream is not None:
            self._waiting.append(item)
            self._has_work.set()

    async def _converse(self, stream: RecognitionStream) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(stream), name="listening.send")
            async for event in stream.events():
                self._retry_s = _RETRY_FIRST_S
                if isinstance(event, SpeechBegan | SpeechHalted | SpeechOver):
                    # One of the next frames ends the utterance, and everybody waits for that.
                    self._is_paused = isinstance(event, SpeechHalted)
                if not self._is_void(event):
                    await self._on_event(self._places.placed(event))
            raise Fault.unavailable("ASR_STREAM_ENDED", "the asr service ended the stream")

    def _is_void(self, event: RecognitionEvent) -> bool:
        """Whether it is the empty transcript with which the recogniser follows up an utterance that has failed."""
        match event:
            case SpeechOver():
                self._is_final_due = True
            case UtteranceFailed():
                self._is_final_void = self._is_final_due
            case Heard(is_final=True):
                is_void, self._is_final_void, self._is_final_due = self._is_final_void, False, False
                return is_void
        return False

    async def _send(self, stream: RecognitionStream) -> None:
        while True:
            while not self._waiting:
                self._has_work.clear()
                await self._has_work.wait()
            item = self._waiting.popleft()
            self._is_sending = True
            try:
                async with asyncio.timeout(_STALL_S):
                    await self._send_one(stream, item)
            except TimeoutError:
                raise Fault.unavailable("ASR_STALLED", "the asr service takes no more audio") from None
            finally:
                self._is_sending = False

    async def _send_one(self, stream: RecognitionStream, item: Audio | _Request | _Trace) -> None:
        match item:
            case Audio():
                self._waiting_bytes -= _size_bytes(item)
                self._has_room.set()
                await stream.send(item)
            case _Trace():
                stream.belongs_to(item.traceparent)
            case _Request.FINISH:
                await stream.finish_utterance()
            case _Request.DISCARD:
                await stream.discard_utterance()


def _size_bytes(audio: Audio) -> int:
    return sum(map(len, audio.packets))
