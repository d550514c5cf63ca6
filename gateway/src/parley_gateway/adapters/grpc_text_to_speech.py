"""`GrpcTextToSpeech`: the tts service as the session's TextToSpeech."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from parley.tts.v1 import synthesis_service_pb2 as tts_pb2
from parley.tts.v1.synthesis_service_pb2_grpc import SynthesisServiceStub
from parley_gateway import wire
from parley_gateway.ports import Audio, Phrase, PhraseFailed, SpeakingRequest, SpeechFinished, SpokenWord
from parley_gateway.service_calls import responses, writing
from parley_servicekit.faults import Fault
from parley_servicekit.grpc_faults import fault_from_status
from parley_servicekit.traces import call_metadata

_SERVICE = "tts"
_Request = tts_pb2.StreamingSynthesizeRequest
SynthesisResult = Phrase | Audio | PhraseFailed | SpeechFinished


class GrpcTextToSpeech:
    """Synthesis over one channel to the tts service."""

    def __init__(self, channel: grpc.aio.Channel, *, reply_deadline_ms: int) -> None:
        """reply_deadline_ms: the longest that one reply may take, pacing included."""
        self._stub = SynthesisServiceStub(channel)
        self._deadline_s = reply_deadline_ms / 1000

    @asynccontextmanager
    async def open_stream(self, request: SpeakingRequest) -> AsyncIterator["GrpcSynthesisStream"]:
        """See TextToSpeech.open_stream."""
        call: Any = self._stub.StreamingSynthesize(timeout=self._deadline_s, metadata=call_metadata())
        try:
            await writing(_SERVICE, call, call.write(_Request(config=_config(request))))
            # Writing into a call that was refused meanwhile hides why (docs/decisions/0008).
            await call.initial_metadata()
            yield GrpcSynthesisStream(call)
        finally:
            call.cancel()


class GrpcSynthesisStream:
    """One StreamingSynthesize call."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send_text(self, text: str) -> None:
        """See SynthesisStream.send_text."""
        await writing(_SERVICE, self._call, self._call.write(_Request(text=text)))

    async def end_text(self) -> None:
        """See SynthesisStream.end_text."""
        await writing(_SERVICE, self._call, self._call.write(_Request(end_of_text=tts_pb2.EndOfText())))
        await writing(_SERVICE, self._call, self._call.done_writing())

    async def results(self) -> AsyncIterator[SynthesisResult]:
        """See SynthesisStream.results."""
        is_finished = False
        async for response in responses(_SERVICE, self._call):
            result = _result(response)
            if result is not None:
                is_finished = isinstance(result, SpeechFinished)
                yield result
        if not is_finished:
            raise Fault.unavailable("TTS_STREAM_ENDED", "the tts service broke its speech off")


def _config(request: SpeakingRequest) -> tts_pb2.SynthesisConfig:
    return tts_pb2.SynthesisConfig(
        output_audio=wire.audio_format_to_wire(request.output_audio),
        synthesis=wire.synthesis_to_wire(request),
    )


def _result(response: tts_pb2.StreamingSynthesizeResponse) -> SynthesisResult | None:
    """The domain result of a response; None for one of a newer service."""
    kind = response.WhichOneof("response")
    if kind == "audio":
        return wire.audio_from_wire(response.audio)
    if kind == "phrase":
        mark = response.phrase
        return Phrase(
            index=mark.index,
            text=mark.text,
            start_offset_ms=wire.milliseconds(mark.start_offset),
            duration_ms=wire.milliseconds(mark.duration) if mark.HasField("duration") else None,
            words=[SpokenWord(word.text_offset, wire.milliseconds(word.start_offset)) for word in mark.words],
        )
    if kind == "finished":
        return SpeechFinished(wire.milliseconds(response.finished.audio_duration))
    if kind == "phrase_failed":
        return PhraseFailed(fault_from_status(response.phrase_failed))
    return None
