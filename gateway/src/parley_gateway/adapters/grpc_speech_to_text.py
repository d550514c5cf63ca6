"""`GrpcSpeechToText`: the asr service as the session's SpeechToText."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import grpc.aio

from parley.asr.v1 import recognition_options_pb2 as options_pb2
from parley.asr.v1 import recognition_service_pb2 as asr_pb2
from parley.asr.v1.recognition_service_pb2_grpc import RecognitionServiceStub
from parley.audio.v1 import audio_pb2
from parley_gateway import wire
from parley_gateway.ports import (
    Audio,
    Heard,
    InputSafe,
    ListeningRequest,
    RecognitionEvent,
    SpeechBegan,
    SpeechHalted,
    SpeechOver,
    UtteranceFailed,
    Word,
)
from parley_gateway.service_calls import STREAM_DEADLINE_S, first_response, responses, writing
from parley_servicekit.grpc_faults import fault_from_status
from parley_servicekit.link_call import LinkCall

_SERVICE = "asr"
# Less than a sample at any rate; sums of durations are not exact.
_CONTIGUOUS_MS = 0.01
_Request = asr_pb2.StreamingRecognizeRequest


class GrpcSpeechToText:
    """Recognition over one channel to the asr service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = RecognitionServiceStub(channel)

    @asynccontextmanager
    async def open_stream(self, request: ListeningRequest) -> AsyncIterator["GrpcRecognitionStream"]:
        """See SpeechToText.open_stream."""
        call: Any = self._stub.StreamingRecognize(timeout=STREAM_DEADLINE_S)
        try:
            await writing(_SERVICE, call, call.write(_Request(config=_config(request))))
            # The first response says that the config is accepted; without it audio would go nowhere.
            await first_response(_SERVICE, call)
            yield GrpcRecognitionStream(call)
        finally:
            call.cancel()


class GrpcRecognitionStream:
    """One StreamingRecognize call."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._link_call = call if isinstance(call, LinkCall) else None
        self._traceparent = ""
        self._end_ms = 0.0

    async def send(self, audio: Audio) -> None:
        """See RecognitionStream.send."""
        await self._write(self._request(audio))

    def send_now(self, audio: Audio, *, may_wait: bool) -> bool:
        """See RecognitionStream.send_now."""
        if self._link_call is None or not self._link_call.can_write:
            return False
        self._link_call.write_now(self._traced(self._request(audio)), may_wait=may_wait)
        return True

    def belongs_to(self, traceparent: str) -> None:
        """See RecognitionStream.belongs_to."""
        self._traceparent = traceparent

    async def finish_utterance(self) -> None:
        """See RecognitionStream.finish_utterance."""
        await self._write(_Request(finish_utterance=asr_pb2.FinishUtterance()))

    async def discard_utterance(self) -> None:
        """See RecognitionStream.discard_utterance."""
        await self._write(_Request(discard_utterance=asr_pb2.DiscardUtterance()))

    async def events(self) -> AsyncIterator[RecognitionEvent]:
        """See RecognitionStream.events."""
        async for response in responses(_SERVICE, self._call):
            event = _event(response)
            if event is not None:
                yield event

    async def _write(self, request: _Request) -> None:
        await writing(_SERVICE, self._call, self._call.write(self._traced(request)))

    def _request(self, audio: Audio) -> _Request:
        """Without its offset where it follows what was sent before, which is nearly always."""
        chunk = audio_pb2.AudioChunk(packets=audio.packets)
        if abs(audio.start_offset_ms - self._end_ms) > _CONTIGUOUS_MS:
            chunk.start_offset.CopyFrom(wire.duration(audio.start_offset_ms))
        self._end_ms = audio.start_offset_ms + audio.duration_ms
        return _Request(audio=chunk)

    def _traced(self, request: _Request) -> _Request:
        if self._traceparent:
            request.traceparent, self._traceparent = self._traceparent, ""
        return request


def _config(request: ListeningRequest) -> asr_pb2.StreamingRecognitionConfig:
    endpointing = options_pb2.EndpointingOptions(
        manual=request.is_manual, speech_threshold=request.speech_threshold
    )
    if request.end_silence_ms:
        endpointing.end_silence_duration.CopyFrom(wire.duration(request.end_silence_ms))
    return asr_pb2.StreamingRecognitionConfig(
        input_audio=wire.audio_format_to_wire(request.input_audio),
        recognition=options_pb2.RecognitionOptions(
            model=request.model, language_codes=request.language_codes, hot_words=request.hot_words
        ),
        endpointing=endpointing,
    )


def _event(response: asr_pb2.StreamingRecognizeResponse) -> RecognitionEvent | None:
    """The domain event of a response; None for what a session has no use for."""
    kind = response.WhichOneof("response")
    if kind == "speech_activity":
        return _activity(response.speech_activity)
    if kind == "transcript":
        transcript = response.transcript
        return Heard(
            text=transcript.text,
            is_final=transcript.is_final,
            stability=transcript.stability,
            language_code=transcript.language_code,
            words=[
                Word(word.text, wire.milliseconds(word.start_offset), wire.milliseconds(word.end_offset))
                for word in transcript.words
            ],
            start_offset_ms=_offset_ms(transcript, "start_offset"),
            end_offset_ms=_offset_ms(transcript, "end_offset"),
        )
    if kind == "acknowledged":
        return InputSafe(wire.milliseconds(response.acknowledged.offset))
    if kind == "utterance_failed":
        return UtteranceFailed(fault_from_status(response.utterance_failed))
    return None


def _offset_ms(transcript: asr_pb2.Transcript, field: Literal["start_offset", "end_offset"]) -> float | None:
    return wire.milliseconds(getattr(transcript, field)) if transcript.HasField(field) else None


def _activity(activity: asr_pb2.SpeechActivity) -> RecognitionEvent | None:
    offset_ms = wire.milliseconds(activity.offset)
    match activity.kind:
        case asr_pb2.SPEECH_ACTIVITY_KIND_STARTED | asr_pb2.SPEECH_ACTIVITY_KIND_RESUMED:
            return SpeechBegan(offset_ms)
        case asr_pb2.SPEECH_ACTIVITY_KIND_PAUSED:
            return SpeechHalted(offset_ms)
        case asr_pb2.SPEECH_ACTIVITY_KIND_ENDED:
            return SpeechOver(offset_ms)
        case _:
            return None
