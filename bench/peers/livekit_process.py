"""LiveKit's AgentSession with scripted services, in its own environment: `python -m bench.peers.livekit_process PLAN`.

Its defaults: asyncio, text transforms, preemptive generation of text, away and echo-warm-up timers, as it comes. Its
best documented settings: uvloop, preemptive speech, no text transforms, no timers. In both: the speech recogniser
ends the turn (`turn_detection: stt`) with no endpointing delay of its own, there is no voice activity model, no room
(audio goes in and out as in its console), and it logs warnings only.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, APIConnectOptions, llm, stt, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.utils import aio
from livekit.agents.voice import io

from bench.peers.measuring import OpenSession, Send, main, python_version
from bench.peers.record import SessionRecord
from bench.peers.script import PARTIAL_EVERY_FRAMES, PacedOutput, reply_chunks, wait_ms, words_heard
from bench.peers.workload import (
    FRAME_BYTES,
    LAST_OF_SPEECH,
    REPLY_SAMPLE_RATE_HZ,
    SAMPLE_RATE_HZ,
    SILENCE,
    Plan,
)


class ScriptedInput(io.AudioInput):  # type: ignore[misc]
    """Where the person's frames come in."""

    def __init__(self) -> None:
        super().__init__(label="scripted")
        self._frames = aio.Chan[rtc.AudioFrame]()

    async def take(self, audio: bytes) -> None:
        """The next 20 ms."""
        self._frames.send_nowait(rtc.AudioFrame(audio, SAMPLE_RATE_HZ, 1, FRAME_BYTES // 2))

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.__anext__()


class ScriptedRecogniser(stt.STT):  # type: ignore[misc]
    """Says what the script says, and ends the turn at the labelled frame."""

    def __init__(self, record: SessionRecord) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self.record = record

    async def _recognize_impl(self, buffer: Any, **_: Any) -> stt.SpeechEvent:
        raise NotImplementedError("only streams are recognised")

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS, **_: Any
    ) -> "ScriptedRecognition":
        """One of a session."""
        return ScriptedRecognition(self, conn_options)


class ScriptedRecognition(stt.RecognizeStream):  # type: ignore[misc]
    """A session's."""

    def __init__(self, recogniser: ScriptedRecogniser, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=recogniser, conn_options=conn_options, sample_rate=SAMPLE_RATE_HZ)
        self._record = recogniser.record
        self._speech_frame_count = 0

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for frame in self._input_ch:
                if isinstance(frame, rtc.AudioFrame) and self._hear(bytes(frame.data.cast("B"))):
                    tasks.create_task(self._finish(), name="bench.transcript")

    def _hear(self, audio: bytes) -> bool:
        """Whether the turn just ended."""
        self._record.audio_arrived(len(audio) // 2)
        if audio == SILENCE:
            return False
        self._speech_frame_count += 1
        if self._speech_frame_count == 1:
            self._event_ch.send_nowait(stt.SpeechEvent(stt.SpeechEventType.START_OF_SPEECH))
        elif audio == LAST_OF_SPEECH:
            self._speech_frame_count = 0
            self._record.turn_ended()
            return True
        elif self._speech_frame_count % PARTIAL_EVERY_FRAMES == 0:
            text = words_heard(self._record.next_turn, self._speech_frame_count)
            self._tell(stt.SpeechEventType.INTERIM_TRANSCRIPT, text)
        return False

    async def _finish(self) -> None:
        turn = self._record.turn
        await wait_ms(turn.transcript_ms)
        self._tell(stt.SpeechEventType.FINAL_TRANSCRIPT, turn.heard)
        self._event_ch.send_nowait(stt.SpeechEvent(stt.SpeechEventType.END_OF_SPEECH))

    def _tell(self, kind: stt.SpeechEventType, text: str) -> None:
        said = stt.SpeechData(language="en", text=text, confidence=1.0)
        self._event_ch.send_nowait(stt.SpeechEvent(kind, alternatives=[said]))


class ScriptedChatModel(llm.LLM):  # type: ignore[misc]
    """Waits, then writes its words at once."""

    def __init__(self, record: SessionRecord) -> None:
        super().__init__()
        self.record = record

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[Any] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> "ScriptedChat":
        """One reply."""
        return ScriptedChat(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class ScriptedChat(llm.LLMStream):  # type: ignore[misc]
    """A reply's text."""

    async def _run(self) -> None:
        record = self._llm.record
        await wait_ms(record.turn.model_ms)
        for word in record.turn.words:
            delta = llm.ChoiceDelta(role="assistant", content=word)
            self._event_ch.send_nowait(llm.ChatChunk(id="scripted", delta=delta))


class ScriptedVoice(tts.TTS):  # type: ignore[misc]
    """Waits after the first text of a reply, then gives all of its audio."""

    def __init__(self, record: SessionRecord) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True),
            sample_rate=REPLY_SAMPLE_RATE_HZ,
            num_channels=1,
        )
        self.record = record

    def synthesize(self, text: str, **_: Any) -> Any:
        """Not asked for by a session."""
        raise NotImplementedError("only streams are spoken")

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> "ScriptedSpeech":
        """One of a reply."""
        return ScriptedSpeech(tts=self, conn_options=conn_options)


class ScriptedSpeech(tts.SynthesizeStream):  # type: ignore[misc]
    """A reply's audio."""

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        record = self._tts.record
        output_emitter.initialize(
            request_id="scripted", sample_rate=REPLY_SAMPLE_RATE_HZ, num_channels=1, mime_type="audio/pcm",
            stream=True,
        )  # fmt: skip
        is_spoken = False
        async for text in self._input_ch:
            if is_spoken or not isinstance(text, str):
                continue
            is_spoken = True
            self._mark_started()
            await wait_ms(record.turn.voice_ms)
            output_emitter.start_segment(segment_id="scripted")
            for chunk in reply_chunks(record.workload):
                output_emitter.push(chunk)
            output_emitter.end_segment()


class ScriptedOutput(io.AudioOutput):  # type: ignore[misc]
    """The person's loudspeaker."""

    def __init__(self, record: SessionRecord) -> None:
        super().__init__(
            label="scripted",
            capabilities=io.AudioOutputCapabilities(pause=False),
            sample_rate=REPLY_SAMPLE_RATE_HZ,
        )
        self._output = PacedOutput(record)
        self._taken_s = 0.0
        self._finish: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Takes the next piece of audio."""
        await super().capture_frame(frame)
        if self._taken_s == 0.0:
            self.on_playback_started(created_at=time.time())
        self._taken_s += frame.duration
        await self._output.take(frame.duration * 1000)

    def flush(self) -> None:
        """The reply is complete; it is over when it is played."""
        super().flush()
        if self._taken_s:
            loop = asyncio.get_running_loop()
            self._finish = loop.call_later(self._output.left_s, self._finished, self._taken_s, False)
            self._taken_s = 0.0

    def clear_buffer(self) -> None:
        """The person interrupts."""
        if self._finish is not None and not self._finish.cancelled():
            self._finish.cancel()
            self._finished(0.0, True)

    def _finished(self, played_s: float, was_interrupted: bool) -> None:
        self._finish = None
        self.on_playback_finished(playback_position=played_s, interrupted=was_interrupted)


def library(plan: Plan) -> OpenSession:
    """Sessions with its defaults or its best settings."""
    best: dict[str, Any] = {}
    turn_handling: dict[str, Any] = {"turn_detection": "stt", "endpointing": {"min_delay": 0.0}}
    if plan.has_tuned_settings:
        best = {"tts_text_transforms": None, "user_away_timeout": None, "aec_warmup_duration": None}
        turn_handling["preemptive_generation"] = {"preemptive_tts": True}

    @asynccontextmanager
    async def session(record: SessionRecord) -> AsyncIterator[Send]:
        agent_session: AgentSession[None] = AgentSession(
            stt=ScriptedRecogniser(record),
            vad=None,
            llm=ScriptedChatModel(record),
            tts=ScriptedVoice(record),
            turn_handling=turn_handling,
            **best,
        )
        audio_in = ScriptedInput()
        agent_session.input.audio = audio_in
        agent_session.output.audio = ScriptedOutput(record)
        await agent_session.start(Agent(instructions="Answer."), record=False)
        try:
            yield audio_in.take
        finally:
            await agent_session.aclose()

    return session


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(
        library, {name: version(name) for name in ("livekit-agents", "livekit", "uvloop")} | python_version()
    )
