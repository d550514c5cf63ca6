"""`SynthesisServicer`: the wire of `parley.tts.v1.SynthesisService`. Registered by `bootstrap`.

Each request becomes one `Synthesis`; what is checked here is the order and size of messages.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Never

from google.rpc import status_pb2  # type: ignore[import-untyped]

from parley.tts.v1 import synthesis_options_pb2 as options_pb
from parley.tts.v1 import synthesis_service_pb2 as pb
from parley.tts.v1 import synthesis_service_pb2_grpc as pb_grpc
from parley_audio.pcm import AudioError, AudioFormat
from parley_servicekit import contract_faults
from parley_servicekit.faults import Fault
from parley_servicekit.grpc_faults import status_from_fault
from parley_servicekit.logs import get_logger
from parley_servicekit.outcomes import RequestOutcome, ended_by
from parley_servicekit.traces import NO_TRACES, Span, Traces, serving
from parley_tts import faults
from parley_tts.audio_output import EncodedAudio
from parley_tts.metrics import Metrics
from parley_tts.ports import SynthesisEngine, SynthesisStream
from parley_tts.synthesis import Limits, PhraseFailed, PhraseMarked, Result, Synthesis
from parley_tts.wire import (
    Wish,
    bad_rate,
    read_format,
    read_options,
    write_audio,
    write_length,
    write_mark,
)

_DOMAIN = "tts.parley"
_TEXT_MESSAGE_MAX_BYTES = 32 << 10
_TEXT_MAX_BYTES = 1 << 20
_LIST_MAX_COUNT = 1000
_SPEAKABLE = re.compile(r"[^\W_]")  # a letter or a digit
_log = get_logger()


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """See Settings."""

    max_streams: int = 64
    phrase_timeout_ms: int = 60_000
    text_idle_timeout_ms: int = 120_000
    reader_timeout_ms: int = 120_000


@dataclass(slots=True)
class _Progress:
    """Times of one request, on the monotonic clock in seconds."""

    began_at: float
    text_at: float | None = None
    first_audio_s: float | None = None
    audio_s: float = 0.0
    phrase_count: int = 0
    voice: str = ""


class SynthesisServicer(pb_grpc.SynthesisServiceServicer):
    """Serves from one engine. Raises Fault; servicekit's interceptor makes it a status."""

    def __init__(
        self,
        engine: SynthesisEngine,
        metrics: Metrics,
        limits: ServiceLimits,
        traces: Traces = NO_TRACES,
    ) -> None:
        self._engine = engine
        self._traces = traces
        self._metrics = metrics
        self._limits = limits
        self._running_count = 0
        metrics.slots.set(limits.max_streams)

    async def StreamingSynthesize(  # type: ignore[override]
        self, requests: AsyncIterator[pb.StreamingSynthesizeRequest], context: Any
    ) -> None:
        """See the proto."""
        with serving(self._traces, "tts speak", context) as span, self._running(span) as progress:
            config = await self._read_config(requests)
            with _prefixed("config."):
                wish = read_options(config.synthesis)
                has_format = config.HasField("output_audio")
                audio_format = read_format(config.output_audio if has_format else None, is_live=True)
                stream = self._engine.open_stream(wish.options)

            async def write(**fields: Any) -> None:
                await self._write(context, pb.StreamingSynthesizeResponse(**fields))

            async def send(result: Result) -> None:
                if isinstance(result, PhraseFailed):
                    await write(phrase_failed=_failure_status(result))
                else:
                    await write(**_fields(result, audio_format.sample_rate_hz))

            with _prefixed("config."):
                synthesis = self._synthesis(stream, wish, audio_format, send, progress)
            # Tells the caller that the config is accepted: a Python client that writes into a refused call may
            # see its own write fail instead of our status.
            await context.send_initial_metadata(())
            async with asyncio.TaskGroup() as tasks:
                reading = self._read_text(requests, synthesis, progress)
                reader = tasks.create_task(reading, name="text reader")
                sample_count = await synthesis.run()
                reader.cancel()
            await write(finished=_finished(sample_count, audio_format, stream))

    async def Synthesize(self, request: pb.SynthesizeRequest, context: Any) -> None:  # type: ignore[override]
        """See the proto."""
        with serving(self._traces, "tts speak", context) as span, self._running(span) as progress:
            if len(request.text.encode()) > _TEXT_MAX_BYTES:
                raise contract_faults.invalid_field("text", "longer than 1 MiB")
            if _SPEAKABLE.search(request.text) is None:
                raise contract_faults.invalid_field("text", "nothing in it can be spoken")
            wish = read_options(request.synthesis)
            has_format = request.HasField("output_audio")
            audio_format = read_format(request.output_audio if has_format else None, is_live=False)
            stream = self._engine.open_stream(wish.options)

            async def write(**fields: Any) -> None:
                await self._write(context, pb.SynthesizeResponse(**fields))

            async def send(result: Result) -> None:
                if isinstance(result, PhraseFailed):
                    raise result.fault
                await write(**_fields(result, audio_format.sample_rate_hz))

            synthesis = self._synthesis(stream, wish, audio_format, send, progress)
            progress.text_at = time.monotonic()
            synthesis.push(request.text)
            synthesis.finish()
            sample_count = await synthesis.run()
            await write(finished=_finished(sample_count, audio_format, stream))

    async def ListVoices(self, request: pb.ListVoicesRequest, context: Any) -> pb.ListVoicesResponse:
        """See the proto."""
        return pb.ListVoicesResponse(
            voices=[
                options_pb.Voice(
                    name=voice.name,
                    description=voice.description,
                    language_codes=voice.language_codes,
                    sample_rate_hertz=voice.sample_rate_hz,
                )
                for voice in self._engine.voices()[:_LIST_MAX_COUNT]
            ]
        )

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        """See the proto."""
        return pb.ListModelsResponse(
            models=[
                options_pb.SynthesisModel(
                    name=model.name,
                    description=model.description,
                    language_codes=model.language_codes,
                    is_loaded=model.is_loaded,
                    size_bytes=model.size_bytes,
                )
                for model in self._engine.models()[:_LIST_MAX_COUNT]
            ]
        )

    async def CreateVoice(self, requests: Any, context: Any) -> Never:
        """See the proto: not in this version."""
        raise contract_faults.not_in_this_version("CreateVoice")

    async def DeleteVoice(self, request: Any, context: Any) -> Never:
        """See the proto: not in this version."""
        raise contract_faults.not_in_this_version("DeleteVoice")

    async def PullModel(self, request: Any, context: Any) -> Never:  # type: ignore[override]
        """See the proto: not in this version."""
        raise contract_faults.not_in_this_version("PullModel")

    async def RemoveModel(self, request: Any, context: Any) -> Never:
        """See the proto: not in this version."""
        raise contract_faults.not_in_this_version("RemoveModel")

    async def WatchLoad(self, request: Any, context: Any) -> Never:  # type: ignore[override]
        """See the proto: not in this version."""
        raise contract_faults.not_in_this_version("WatchLoad")

    def _synthesis(
        self,
        stream: SynthesisStream,
        wish: Wish,
        audio_format: AudioFormat,
        send: Callable[[Result], Awaitable[None]],
        progress: _Progress,
    ) -> Synthesis:
        progress.voice = stream.voice.name

        async def observe(result: Result) -> None:
            await send(result)
            self._observe(result, progress, audio_format.sample_rate_hz)

        def observe_making(taken_s: float, played_s: float) -> None:
            progress.phrase_count += 1
            self._metrics.real_time_factor.observe(taken_s / played_s)

        try:
            return Synthesis(
                stream,
                self._engine.capabilities,
                audio_format,
                observe,
                gain=wish.gain,
                limits=Limits(self._limits.phrase_timeout_ms),
                phrase_made=observe_making,
            )
        except AudioError as error:
            raise bad_rate(error) from None

    def _observe(self, result: Result, progress: _Progress, rate_hz: int) -> None:
        if isinstance(result, EncodedAudio):
            progress.audio_s += result.sample_count / rate_hz
            if progress.first_audio_s is None and progress.text_at is not None:
                progress.first_audio_s = time.monotonic() - progress.text_at
                self._metrics.first_audio.observe(progress.first_audio_s)
        elif isinstance(result, PhraseFailed):
            self._metrics.phrase_failed(result.fault.reason)

    async def _read_config(
        self, requests: AsyncIterator[pb.StreamingSynthesizeRequest]
    ) -> pb.SynthesisConfig:
        request = await self._next(requests)
        if request is None:
            raise faults.abandoned()
        if request.WhichOneof("request") != "config":
            raise contract_faults.invalid_order("the first message has to be config")
        return request.config

    async def _read_text(
        self,
        requests: AsyncIterator[pb.StreamingSynthesizeRequest],
        synthesis: Synthesis,
        progress: _Progress,
    ) -> None:
        """Feed `synthesis` until end_of_text. Raises Fault for anything else than text."""
        total_bytes = 0
        while (request := await self._next(requests)) is not None:
            kind = request.WhichOneof("request")
            if kind == "end_of_text":
                synthesis.finish()
                return
            if kind != "text":
                raise contract_faults.invalid_order("after config come text and end_of_text")
            text_bytes = len(request.text.encode())
            total_bytes += text_bytes
            if text_bytes > _TEXT_MESSAGE_MAX_BYTES:
                raise contract_faults.invalid_field("text", "longer than 32 KiB; send it in pieces")
            if total_bytes > _TEXT_MAX_BYTES:
                raise contract_faults.invalid_field("text", "more than 1 MiB in all")
            progress.text_at = progress.text_at or time.monotonic()
            synthesis.push(request.text)
            await synthesis.wait_room()
        raise faults.abandoned()

    async def _next(
        self, requests: AsyncIterator[pb.StreamingSynthesizeRequest]
    ) -> pb.StreamingSynthesizeRequest | None:
        try:
            async with asyncio.timeout(self._limits.text_idle_timeout_ms / 1000):
                return await anext(requests, None)
        except TimeoutError:
            raise faults.text_idle(self._limits.text_idle_timeout_ms) from None

    async def _write(self, context: Any, response: Any) -> None:
        try:
            async with asyncio.timeout(self._limits.reader_timeout_ms / 1000):
                await context.write(response)
        except TimeoutError:
            raise faults.reader_stalled(self._limits.reader_timeout_ms) from None

    @contextmanager
    def _running(self, span: Span) -> Iterator[_Progress]:
        """Admit one request, count it, and tell how it ended. Raises Fault when all streams are taken."""
        if self._running_count >= self._limits.max_streams:
            fault = faults.at_capacity(self._limits.max_streams)
            self._metrics.request_ended(RequestOutcome.REFUSED, fault.reason)
            raise fault
        self._running_count += 1
        self._metrics.running.inc()
        progress = _Progress(time.monotonic())
        failure: BaseException | None = None
        try:
            yield progress
        except BaseException as error:
            failure = error
            raise
        finally:
            outcome, reason = ended_by(failure)
            _note(span, progress)
            self._running_count -= 1
            self._metrics.running.dec()
            self._metrics.request_ended(outcome, reason)
            self._metrics.audio.inc(progress.audio_s)
            first = progress.first_audio_s
            _log.info(
                "synthesis.ended",
                outcome=outcome.value,
                reason=reason,
                phrase_count=progress.phrase_count,
                audio_ms=round(progress.audio_s * 1000),
                first_audio_ms=None if first is None else round(first * 1000),
                total_ms=round((time.monotonic() - progress.began_at) * 1000),
            )


def _note(span: Span, progress: _Progress) -> None:
    span.note(
        voice=progress.voice,
        phrase_count=progress.phrase_count,
        audio_ms=round(progress.audio_s * 1000),
    )
    if progress.first_audio_s is not None:
        span.note(first_audio_ms=round(progress.first_audio_s * 1000))


def _fields(result: PhraseMarked | EncodedAudio, rate_hz: int) -> dict[str, Any]:
    if isinstance(result, PhraseMarked):
        return {"phrase": write_mark(result, rate_hz)}
    return {"audio": write_audio(result, rate_hz)}


def _finished(sample_count: int, audio_format: AudioFormat, stream: SynthesisStream) -> pb.SynthesisFinished:
    length = write_length(sample_count, audio_format.sample_rate_hz)
    return pb.SynthesisFinished(audio_duration=length, voice=stream.voice.name)


def _failure_status(failed: PhraseFailed) -> status_pb2.Status:
    fault = failed.fault
    told = Fault(
        fault.reason,
        fault.message,
        code=fault.code,
        retry_after_ms=fault.retry_after_ms,
        metadata={**fault.metadata, "phraseIndex": str(failed.index)},
    )
    return status_from_fault(told, _DOMAIN)


@contextmanager
def _prefixed(prefix: str) -> Iterator[None]:
    """A fault's field, told from the message's root."""
    try:
        yield
    except Fault as fault:
        if fault.field is None:
            raise
        raise Fault(fault.reason, fault.message, code=fault.code, field=prefix + fault.field) from None
