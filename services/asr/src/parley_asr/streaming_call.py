"""One StreamingRecognize call: its messages to one `Recognition`, the events back. Called by `servicer`.

Nothing is queued here: a message is read when the one before it is recognised, so a client that is too fast is held
back by HTTP/2 flow control (the server's window is 16 KiB, half a second of 16 kHz audio).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from parley.asr.v1 import recognition_service_pb2 as service_pb
from parley_asr import requests, responses
from parley_asr.audio_input import AudioInput
from parley_asr.call_record import CallRecord
from parley_asr.events import RecognitionEvent
from parley_asr.ports import RecognitionEngine, Samples, VoiceActivityEngine
from parley_asr.recognition import Recognition, RecognitionLimits
from parley_servicekit import contract_faults
from parley_servicekit.faults import Fault

_CONFIG_TIMEOUT_S = 10  # a call holds one of few places from its first moment on


@dataclass(frozen=True)
class Engines:
    """What every call works with. clock: monotonic seconds; draining: set when the process begins to go away."""

    recognizer: RecognitionEngine
    detector: VoiceActivityEngine
    limits: RecognitionLimits
    clock: Callable[[], float]
    draining: asyncio.Event


class StreamingCall:
    """One call; `serve` does it all."""

    def __init__(
        self,
        engines: Engines,
        requests_in: AsyncIterator[service_pb.StreamingRecognizeRequest],
        write: Callable[[service_pb.StreamingRecognizeResponse], "asyncio.Future[None]"],
        record: CallRecord,
    ) -> None:
        self._engines = engines
        self._requests = requests_in
        self._write = write
        self._record = record

    async def serve(self) -> None:
        """Until the last message is answered, the client goes away, or the process does and nobody speaks."""
        config = await self._config()
        if config is None:
            return
        capabilities = self._engines.recognizer.capabilities
        audio_input = AudioInput(requests.streamed_format(config.input_audio, "config.input_audio"))
        hot_words = requests.hot_words(config.recognition, capabilities, "config.recognition")
        recognition = await Recognition.open(
            self._engines.recognizer,
            self._engines.detector,
            requests.endpointing(config.endpointing, "config.endpointing"),
            self._emit,
            self._engines.clock,
            limits=self._engines.limits,
            hot_words=hot_words,
        )
        try:
            await self._write(responses.started(capabilities))
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(self._watch_drain(recognition), name="asr-watch-drain")
                await self._follow(audio_input, recognition)
                watch.cancel()
        finally:
            recognition.close()

    async def _config(self) -> service_pb.StreamingRecognitionConfig | None:
        """The first message; None when the client went away without one."""
        try:
            async with asyncio.timeout(_CONFIG_TIMEOUT_S):
                first = await anext(self._requests, None)
        except TimeoutError:
            raise Fault.deadline("CONFIG_TOO_LATE", f"no config within {_CONFIG_TIMEOUT_S} s") from None
        if first is None:
            self._record.is_abandoned = True
            return None
        if first.WhichOneof("request") != "config":
            raise contract_faults.invalid_order("the first message must be config")
        return first.config

    async def _follow(self, audio_input: AudioInput, recognition: Recognition) -> None:
        async for request in self._requests:
            if request.traceparent:
                self._record.spans.belongs_to(request.traceparent)
            with self._record.busy():
                match request.WhichOneof("request"):
                    case "audio":
                        await self._hear(audio_input, recognition, request)
                    case "finish_utterance":
                        self._record.finish_asked()
                        await recognition.finish_utterance()
                    case "discard_utterance":
                        await recognition.discard_utterance()
                        self._record.spans.discarded()
                    case "end_of_audio":
                        self._record.finish_asked()
                        await self._accept(recognition, audio_input.flush())
                        await recognition.finish()
                        return
                    case "config":
                        raise contract_faults.invalid_order("config comes once, first")
                    case _:
                        raise contract_faults.invalid_order("a message sets none of the fields of request")
            self._leave_if_draining(recognition)
        # grpc.aio ends the requests also when the client cancels or vanishes: that is no end of an utterance.
        self._record.is_abandoned = True

    async def _hear(
        self, audio_input: AudioInput, recognition: Recognition, request: service_pb.StreamingRecognizeRequest
    ) -> None:
        chunk = request.audio
        offset_ns = None
        if chunk.HasField("start_offset"):
            offset_ns = requests.nanoseconds(chunk.start_offset, "audio.start_offset")
        for samples in audio_input.read(chunk.packets, offset_ns):
            await self._accept(recognition, samples)

    async def _accept(self, recognition: Recognition, samples: Samples) -> None:
        self._record.hear(len(samples))
        await recognition.accept(samples)

    async def _emit(self, event: RecognitionEvent) -> None:
        self._record.tell(event)
        await self._write(responses.streaming_response(event, self._engines.recognizer.capabilities))

    async def _watch_drain(self, recognition: Recognition) -> None:
        await self._engines.draining.wait()
        self._leave_if_draining(recognition)

    def _leave_if_draining(self, recognition: Recognition) -> None:
        """A live recognition has no end of its own; it may finish the utterance that is being spoken."""
        if self._engines.draining.is_set() and not recognition.in_utterance:
            raise Fault.unavailable("DRAINING", "going away, call again elsewhere")
