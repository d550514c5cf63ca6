"""One Recognize call: a whole recording, from its file to its transcripts. Called by `servicer`.

The upload goes to a nameless temporary file, which vanishes with the process however that ends. Decoding runs in a
worker thread, a second of audio at a time.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from parley.asr.v1 import recognition_service_pb2 as service_pb
from parley_asr import faults, requests, responses
from parley_asr.audio_input import CHUNK_MAX_BYTES, AudioInput
from parley_asr.call_record import CallRecord
from parley_asr.events import RecognitionEvent, TranscriptFinished, UtteranceFailed
from parley_asr.ports import SAMPLE_RATE_HZ, Samples
from parley_asr.recognition import Recognition
from parley_asr.streaming_call import Engines
from parley_audio.files import FileLimits, decode_file
from parley_audio.pcm import AudioError, AudioFormat
from parley_servicekit import contract_faults
from parley_servicekit.faults import Fault

_PROGRESS_INTERVAL_S = 0.25


@dataclass(frozen=True)
class RecordingLimits:
    """What bounds a recording. upload_timeout_ms: between two messages; decoding_timeout_ms: for all of it."""

    max_bytes: int
    max_duration_ms: int
    upload_timeout_ms: int
    decoding_timeout_ms: int


class RecordingCall:
    """One call; `serve` does it all."""

    def __init__(
        self,
        engines: Engines,
        limits: RecordingLimits,
        requests_in: AsyncIterator[service_pb.RecognizeRequest],
        write: Callable[[service_pb.RecognizeResponse], Awaitable[None]],
        record: CallRecord,
    ) -> None:
        self._engines = engines
        self._limits = limits
        self._requests = requests_in
        self._write = write
        self._record = record
        self._told_at_s = engines.clock()

    async def serve(self) -> None:
        """Take the recording in, recognise it, tell its transcripts in order."""
        first = await self._next_request()
        if first is None or first.WhichOneof("request") != "config":
            raise contract_faults.invalid_order("the first message must be config")
        config = first.config
        audio_format = requests.recorded_format(config.input_audio, "config.input_audio")
        capabilities = self._engines.recognizer.capabilities
        hot_words = requests.hot_words(config.recognition, capabilities, "config.recognition")
        endpointing = requests.endpointing(config.endpointing, "config.endpointing")
        if endpointing.manual:
            raise contract_faults.invalid_field(
                "config.endpointing.manual", "a recording is cut into utterances by silence"
            )
        with tempfile.TemporaryFile() as file:
            total_samples = await self._spool(file, audio_format)
            recognition = await Recognition.open(
                self._engines.recognizer,
                self._engines.detector,
                endpointing,
                self._emit,
                self._engines.clock,
                limits=self._engines.limits,
                hot_words=hot_words,
            )
            try:
                await self._recognize(recognition, self._decode(file, audio_format), total_samples)
            finally:
                recognition.close()

    async def _recognize(
        self, recognition: Recognition, audio: Iterator[Samples], total_samples: int | None
    ) -> None:
        async with aclosing(_in_thread(audio)) as seconds:
            async for samples in seconds:
                self._record.hear(len(samples))
                with self._record.busy():
                    await recognition.accept(samples)
                await self._tell_progress(recognition.position_samples, total_samples)
        with self._record.busy():
            await recognition.finish()
        position = recognition.position_samples
        await self._write(responses.progress(position, position))

    async def _spool(self, file: IO[bytes], audio_format: AudioFormat | None) -> int | None:
        """Write the upload down; how many samples it will be at SAMPLE_RATE_HZ, where that can be told."""
        size = 0
        while (request := await self._next_request()) is not None:
            if request.WhichOneof("request") != "content":
                raise contract_faults.invalid_order("after config only content follows")
            size += len(request.content)
            if len(request.content) > CHUNK_MAX_BYTES:
                raise contract_faults.invalid_field("content", f"at most {CHUNK_MAX_BYTES} bytes a message")
            if size > self._limits.max_bytes:
                raise contract_faults.invalid_field(
                    "content", f"the recording is larger than {self._limits.max_bytes} bytes"
                )
            file.write(request.content)
        file.flush()
        if size == 0:
            raise faults.bad_audio("content", "the recording is empty")
        if audio_format is None:
            return None
        return size // audio_format.frame_bytes * SAMPLE_RATE_HZ // audio_format.sample_rate_hz

    async def _next_request(self) -> service_pb.RecognizeRequest | None:
        try:
            async with asyncio.timeout(self._limits.upload_timeout_ms / 1000):
                return await anext(self._requests, None)
        except TimeoutError:
            raise Fault.deadline(
                "UPLOAD_TOO_SLOW", f"nothing came for {self._limits.upload_timeout_ms} ms"
            ) from None

    def _decode(self, file: IO[bytes], audio_format: AudioFormat | None) -> Iterator[Samples]:
        """Blocking. Raises Fault (INVALID_ARGUMENT) for what is no audio or too long."""
        file.seek(0)
        if audio_format is None:
            limits = FileLimits(
                self._limits.max_bytes, self._limits.max_duration_ms, self._limits.decoding_timeout_ms
            )
            try:
                yield from decode_file(Path(f"/dev/fd/{file.fileno()}"), limits)
            except AudioError as error:
                raise faults.bad_audio("content", str(error)) from None
            return
        audio_input = AudioInput(audio_format, "content")
        step = CHUNK_MAX_BYTES - CHUNK_MAX_BYTES % audio_format.frame_bytes
        left = self._limits.max_duration_ms * SAMPLE_RATE_HZ // 1000
        while packet := file.read(step):
            for samples in audio_input.read([packet]):
                left -= len(samples)
                if left < 0:
                    raise faults.bad_audio("content", f"longer than {self._limits.max_duration_ms} ms")
                yield samples
        yield audio_input.flush()

    async def _emit(self, event: RecognitionEvent) -> None:
        self._record.tell(event)
        if isinstance(event, UtteranceFailed):
            raise event.fault
        if isinstance(event, TranscriptFinished) and event.text:
            told = responses.transcript(event, self._engines.recognizer.capabilities)
            await self._write(service_pb.RecognizeResponse(transcript=told))

    async def _tell_progress(self, recognized_samples: int, total_samples: int | None) -> None:
        now_s = self._engines.clock()
        if now_s - self._told_at_s >= _PROGRESS_INTERVAL_S:
            self._told_at_s = now_s
            await self._write(responses.progress(recognized_samples, total_samples))


async def _in_thread(chunks: Iterator[Samples]) -> AsyncGenerator[Samples, None]:
    """What a blocking iterator gives, made in a worker thread, about a second at a time."""

    def take() -> Samples | None:
        taken: list[Samples] = []
        while sum(map(len, taken)) < SAMPLE_RATE_HZ:
            chunk = next(chunks, None)
            if chunk is None:
                break
            taken.append(chunk)
        return np.concatenate(taken) if taken else None

    loop = asyncio.get_running_loop()
    while True:
        taking = loop.run_in_executor(None, take)
        try:
            samples = await asyncio.shield(taking)
        except asyncio.CancelledError:
            await asyncio.wait([taking])  # the file must stay open until the thread has let go of it
            raise
        if samples is None:
            return
        yield samples
