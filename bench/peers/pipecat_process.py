"""Pipecat's pipeline with scripted services, in its own environment: `python -m bench.peers.pipecat_process PLAN`.

Its defaults: asyncio, RTVI, turn tracking and idle detection on, whole sentences to the voice, the person's audio
passed on behind the recogniser. Its best documented settings: uvloop, all of that off, words to the voice as they
come. In both: the speech recogniser ends the turn (`ExternalUserTurnStrategies`, as its services with turn detection
of their own do), and it logs warnings only.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    OutputAudioRawFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    StartFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings, STTSettings, TTSSettings
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TextAggregationMode, TTSService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.utils.time import time_now_iso8601
from pipecat.workers.runner import WorkerRunner

from bench.peers.measuring import OpenSession, Send, main, python_version
from bench.peers.record import SessionRecord
from bench.peers.script import PARTIAL_EVERY_FRAMES, PacedOutput, reply_chunks, wait_ms, words_heard
from bench.peers.workload import (
    LAST_OF_SPEECH,
    REPLY_SAMPLE_RATE_HZ,
    SAMPLE_RATE_HZ,
    SILENCE,
    Plan,
)


class ScriptedInput(BaseInputTransport):  # type: ignore[misc]
    """Where the person's frames come in."""

    async def start(self, frame: StartFrame) -> None:
        """As its own transports: ready at once."""
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def take(self, audio: bytes) -> None:
        """The next 20 ms."""
        await self.push_audio_frame(
            InputAudioRawFrame(audio=audio, sample_rate=SAMPLE_RATE_HZ, num_channels=1)
        )


class ScriptedRecogniser(STTService):  # type: ignore[misc]
    """Says what the script says, and ends the turn at the labelled frame."""

    def __init__(self, record: SessionRecord, *, passes_audio_on: bool) -> None:
        super().__init__(
            audio_passthrough=passes_audio_on,
            settings=STTSettings(model="scripted", language=None),
            ttfs_p99_latency=0.0,
        )
        self._record = record
        self._speech_frame_count = 0

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """One frame of the person's."""
        self._record.audio_arrived(len(audio) // 2)
        if audio != SILENCE:
            self._speech_frame_count += 1
            if self._speech_frame_count == 1:
                await self.broadcast_frame(ProposedUserStartedSpeakingFrame)
            elif audio == LAST_OF_SPEECH:
                self._speech_frame_count = 0
                self._record.turn_ended()
                self.create_task(self._finish())
            elif self._speech_frame_count % PARTIAL_EVERY_FRAMES == 0:
                text = words_heard(self._record.next_turn, self._speech_frame_count)
                yield InterimTranscriptionFrame(text, "", time_now_iso8601())
        yield None

    async def _finish(self) -> None:
        turn = self._record.turn
        await wait_ms(turn.transcript_ms)
        await self.push_frame(TranscriptionFrame(turn.heard, "", time_now_iso8601(), finalized=True))
        await self.broadcast_frame(ProposedUserStoppedSpeakingFrame)


class ScriptedChatModel(LLMService):  # type: ignore[misc]
    """Waits, then writes its words at once."""

    def __init__(self, record: SessionRecord) -> None:
        super().__init__(
            settings=LLMSettings(
                model="scripted", system_instruction=None, temperature=None, max_tokens=None, top_p=None,
                top_k=None, frequency_penalty=None, presence_penalty=None, seed=None,
                filter_incomplete_user_turns=None, user_turn_completion_config=None,
            )
        )  # fmt: skip
        self._record = record

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """A context is a question."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        await wait_ms(self._record.turn.model_ms)
        for word in self._record.turn.words:
            await self.push_frame(LLMTextFrame(word))
        await self.push_frame(LLMFullResponseEndFrame())


class ScriptedVoice(TTSService):  # type: ignore[misc]
    """Waits after the first text of a reply, then gives all of its audio, as its services with a connection do."""

    def __init__(self, record: SessionRecord, mode: TextAggregationMode) -> None:
        super().__init__(
            text_aggregation_mode=mode,
            sample_rate=REPLY_SAMPLE_RATE_HZ,
            settings=TTSSettings(model="scripted", voice="scripted", language=None),
        )
        self._record = record

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:  # noqa: ARG002
        """More text of a reply."""
        if not self.audio_context_available(context_id):
            await self.create_audio_context(context_id)
            self.create_task(self._speak(context_id))
        yield None

    async def _speak(self, context_id: str) -> None:
        await wait_ms(self._record.turn.voice_ms)
        await self.append_to_audio_context(context_id, TTSStartedFrame(context_id=context_id))
        for chunk in reply_chunks(self._record.workload):
            frame = TTSAudioRawFrame(chunk, REPLY_SAMPLE_RATE_HZ, 1, context_id=context_id)
            await self.append_to_audio_context(context_id, frame)
        await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
        await self.remove_audio_context(context_id)


class ScriptedOutput(BaseOutputTransport):  # type: ignore[misc]
    """The person's loudspeaker."""

    def __init__(self, record: SessionRecord, params: TransportParams) -> None:
        super().__init__(params)
        self._output = PacedOutput(record)

    async def start(self, frame: StartFrame) -> None:
        """As its own transports: ready at once."""
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Takes the next piece of audio; the pace is this one's."""
        await self._output.take(len(frame.audio) / (2 * frame.sample_rate) * 1000)
        return True


def library(plan: Plan) -> OpenSession:
    """Sessions with its defaults or its best settings."""
    best: dict[str, Any] = {}
    mode = TextAggregationMode.SENTENCE
    if plan.has_tuned_settings:
        best = {"enable_rtvi": False, "enable_turn_tracking": False, "idle_timeout_secs": None}
        mode = TextAggregationMode.TOKEN

    @asynccontextmanager
    async def session(record: SessionRecord) -> AsyncIterator[Send]:
        params = TransportParams(audio_in_enabled=True, audio_out_enabled=True)
        audio_in = ScriptedInput(params)
        context = LLMContextAggregatorPair(
            LLMContext(),
            user_params=LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies()),
        )
        pipeline = Pipeline(
            [
                audio_in,
                ScriptedRecogniser(record, passes_audio_on=not plan.has_tuned_settings),
                context.user(),
                ScriptedChatModel(record),
                ScriptedVoice(record, mode),
                ScriptedOutput(record, params),
                context.assistant(),
            ]
        )
        rates = PipelineParams(
            audio_in_sample_rate=SAMPLE_RATE_HZ, audio_out_sample_rate=REPLY_SAMPLE_RATE_HZ
        )
        worker = PipelineWorker(pipeline, params=rates, **best)
        is_ready = asyncio.Event()

        @worker.event_handler("on_pipeline_started")  # type: ignore[untyped-decorator]
        async def _(*_: object) -> None:
            is_ready.set()

        runner = WorkerRunner(handle_sigint=False)
        async with asyncio.TaskGroup() as tasks:
            await runner.add_workers(worker)
            tasks.create_task(runner.run(), name="bench.pipecat")
            await is_ready.wait()
            try:
                yield audio_in.take
            finally:
                await runner.cancel()

    return session


if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    main(library, {name: version(name) for name in ("pipecat-ai", "uvloop")} | python_version())
