"""`Listening`: the session's ear. Keeps one recognition stream open, and opens it anew when it fails."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from parley_gateway.ports import (
    Audio,
    Heard,
    InputSafe,
    ListeningRequest,
    RecognitionEvent,
    RecognitionStream,
    SpeechBegan,
    SpeechHalted,
    SpeechOver,
    SpeechToText,
    UtteranceFailed,
)
from parley_servicekit.faults import Fault, FaultCode, fault_in
from parley_servicekit.logs import get_logger

_log = get_logger()

# About 2 s of audio in 20 ms frames may wait for a recogniser that holds back.
_WAITING_MAX_COUNT = 100
_STALL_S = 5.0
_OPEN_S = 0.8
_RETRY_FIRST_S, _RETRY_LONGEST_S = 0.1, 1.0


class _Finish:
    """Ask the recogniser to end the utterance."""


class _Discard:
    """Ask the recogniser to forget the utterance."""


_Command = Audio | _Finish | _Discard


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
        self._commands: asyncio.Queue[_Command] = asyncio.Queue(_WAITING_MAX_COUNT)
        self._is_open = False
        self._base_ms: float | None = None

    async def hear(self, audio: Audio) -> None:
        """Pass input audio on; waits while the recogniser holds back, for at most 5 s."""
        await self._put(audio)

    async def finish_utterance(self) -> None:
        """End the utterance: a final `Heard` follows, or UtteranceFailed."""
        if not await self._put(_Finish()):
            await self._on_event(UtteranceFailed(Fault.unavailable("ASR_UNAVAILABLE", "recognition is away")))

    async def discard_utterance(self) -> None:
        """Forget the utterance."""
        await self._put(_Discard())

    async def run(self) -> None:
        """Until cancelled. Refused configs end it: raises the Fault when the service calls the request wrong."""
        retry_s = _RETRY_FIRST_S
        is_down: bool | None = None
        while True:
            try:
                async with AsyncExitStack() as stack:
                    stream = await self._open(stack)
                    if is_down is not False:
                        await self._on_state(None)
                    is_down, retry_s = False, _RETRY_FIRST_S
                    await self._converse(stream)
            except Exception as error:
                fault = fault_in(error) or Fault.internal()
                if fault_in(error) is None:
                    _log.error("listening.failed_unexpectedly", exc_info=error)
            self._is_open = False
            if fault.code is FaultCode.INVALID_ARGUMENT:
                raise fault
            if is_down is not True:
                await self._on_state(fault)
            is_down = True
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _RETRY_LONGEST_S)

    async def _open(self, stack: AsyncExitStack) -> RecognitionStream:
        try:
            async with asyncio.timeout(_OPEN_S):
                stream = await stack.enter_async_context(self._speech_to_text.open_stream(self._request))
        except TimeoutError:
            raise Fault.unavailable("ASR_UNAVAILABLE", "the asr service does not answer") from None
        self._begin()
        return stream

    def _begin(self) -> None:
        """A stream counts its offsets from its own first sample; nothing that waited for the one before is for it."""
        self._base_ms = None
        while not self._commands.empty():
            self._commands.get_nowait()
        self._is_open = True

    async def _put(self, command: _Command) -> bool:
        """Whether the command was taken."""
        if not self._is_open:
            return False
        try:
            async with asyncio.timeout(_STALL_S):
                await self._commands.put(command)
        except TimeoutError:
            return False
        return True

    async def _converse(self, stream: RecognitionStream) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(stream), name="listening.send")
            async for event in stream.events():
                await self._on_event(self._placed(event))
            raise Fault.unavailable("ASR_STREAM_ENDED", "the asr service ended the stream")

    async def _send(self, stream: RecognitionStream) -> None:
        while True:
            command = await self._commands.get()
            try:
                async with asyncio.timeout(_STALL_S):
                    await self._send_one(stream, command)
            except TimeoutError:
                raise Fault.unavailable("ASR_STALLED", "the asr service takes no more audio") from None

    async def _send_one(self, stream: RecognitionStream, command: _Command) -> None:
        match command:
            case Audio():
                if self._base_ms is None:
                    self._base_ms = command.start_offset_ms
                await stream.send(replace(command, start_offset_ms=command.start_offset_ms - self._base_ms))
            case _Finish():
                await stream.finish_utterance()
            case _Discard():
                await stream.discard_utterance()

    def _placed(self, event: RecognitionEvent) -> RecognitionEvent:
        """The event with offsets from the session's first sample."""
        base_ms = self._base_ms or 0.0
        match event:
            case Heard():
                words = [
                    replace(
                        word,
                        start_offset_ms=word.start_offset_ms + base_ms,
                        end_offset_ms=word.end_offset_ms + base_ms,
                    )
                    for word in event.words
                ]
                return replace(
                    event,
                    words=words,
                    start_offset_ms=event.start_offset_ms + base_ms,
                    end_offset_ms=event.end_offset_ms + base_ms,
                )
            case SpeechBegan() | SpeechHalted() | SpeechOver() | InputSafe():
                return replace(event, offset_ms=event.offset_ms + base_ms)
            case _:
                return event
