"""`Person`: somebody who talks to a gateway over real gRPC, paced as a microphone is, and notes what happens when.

Used by `bench.load` (many in a process of their own) and by scenarios that want a hand on one. Cheap: frames are
serialized beforehand, one task sends, one reads, and of reply audio only the beginning is looked at.
"""

import array
import asyncio
import time
from collections.abc import Iterator
from itertools import repeat
from typing import Any, Literal

import grpc.aio
from google.protobuf.duration_pb2 import Duration

from bench.plan import END_SILENCE_MS, SessionPlan
from bench.records import Refusal, SessionRecord, TurnRecord
from bench.speech import FRAME_MS, FRAME_SAMPLE_COUNT, clip_frames, silent_frame
from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_servicekit.grpc_client import open_channel
from parley_servicekit.grpc_faults import fault_from_rpc_error, fault_from_status

_METHOD = "/parley.gateway.v1.ConversationService/Converse"
_OUTPUT_HZ = 24_000
# A sample that is louder than this (-60 dBFS) is no silence.
_SILENCE_MAX = 32
# What the gateway may send ahead of playing; only what lies beyond it is paced.
_LEAD_MS = 300.0
_READY_S, _FAREWELL_S = 15.0, 15.0
# Every tenth frame of its own tells how late a client is; all of them would be many in an hour.
_LATENESS_EVERY_COUNT = 10
_STAGES = ("endpointing", "asr_final", "llm_first_token", "tts_first_audio", "playback_first_audio")

Mark = Literal["", "onset", "end"]


def default_config() -> config_pb2.ConversationConfig:
    """What people of the benchmark ask for: an end silence that falls on frames and windows, all else as it is."""
    config = config_pb2.ConversationConfig()
    config.turn_taking.end_silence_min_duration.FromMilliseconds(END_SILENCE_MS)
    return config


class Person:
    """One session. `record` grows while `converse` runs."""

    def __init__(
        self, target: str, plan: SessionPlan, config: config_pb2.ConversationConfig | None = None
    ) -> None:
        """target: `host:port` of a gateway."""
        self.record = SessionRecord(plan.index, time.monotonic())
        self.is_settled = asyncio.Event()
        """Set when the session is open, and also when it never will be."""
        self._target = target
        self._plan = plan
        self._config = config or default_config()
        self._turns_by_id: dict[str, TurnRecord] = {}
        self._turns_by_reply: dict[int, TurnRecord] = {}
        self._playing = _Playing()

    async def converse(self) -> SessionRecord:
        """Open a session, speak as planned, leave. Refusals and broken streams are in the record, never raised."""
        record = self.record
        record.opened_at_s = time.monotonic()
        channel = open_channel(self._target)
        call: Any = channel.stream_stream(_METHOD, response_deserializer=pb2.ConverseResponse.FromString)()
        try:
            await self._converse(call)
        except grpc.aio.AioRpcError as error:
            self._note_break(error)
        except TimeoutError:
            record.ended_by = "CLIENT_TIMEOUT"
        finally:
            record.ended_at_s = time.monotonic()
            self.is_settled.set()
            call.cancel()
            await channel.close()
        return record

    async def _converse(self, call: Any) -> None:
        await _write(call, pb2.ConverseRequest(config=self._config).SerializeToString())
        async with asyncio.timeout(_READY_S):
            while self.record.ready_at_s is None:
                response = await call.read()
                if response is grpc.aio.EOF:
                    self.record.ended_by = "HUNG_UP"
                    return
                self._take(response, time.monotonic())
        self.is_settled.set()
        problem: grpc.aio.AioRpcError | None = None
        async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(self._speak(call, patience), name="person.speak")
            try:
                while (response := await call.read()) is not grpc.aio.EOF:
                    self._take(response, time.monotonic())
            except grpc.aio.AioRpcError as error:
                problem = error
            speaking.cancel()
        if problem is not None:
            raise problem
        if self.record.sent_frame_count < self._plan.frame_count:
            self.record.ended_by = "HUNG_UP"

    async def _speak(self, call: Any, patience: asyncio.Timeout) -> None:
        """Send every frame when its last sample has been recorded; then leave."""
        record = self.record
        began_at_s = time.monotonic()
        for count, (frame, mark) in enumerate(self._frames(), start=1):
            due_at_s = began_at_s + count * FRAME_MS / 1000
            sent_at_s = time.monotonic()
            if sent_at_s < due_at_s:
                await asyncio.sleep(due_at_s - sent_at_s)
                sent_at_s = time.monotonic()
            if mark:
                self._note_mark(mark, sent_at_s)
            if count % _LATENESS_EVERY_COUNT == 0:
                record.send_lateness_ms.append(round((sent_at_s - due_at_s) * 1000, 2))
            if not await _write(call, frame):
                return
            record.sent_frame_count = count
        await _write(call, pb2.ConverseRequest(end_conversation=pb2.EndConversation()).SerializeToString())
        await call.done_writing()
        patience.reschedule(asyncio.get_running_loop().time() + _FAREWELL_S)

    def _frames(self) -> Iterator[tuple[bytes, Mark]]:
        silent: tuple[bytes, Mark] = (silent_frame(), "")
        position = 0
        for spoken in self._plan.spoken:
            yield from repeat(silent, spoken.start_frame - position)
            frames = clip_frames(spoken.clip, spoken.shift_samples)
            onset_frame = spoken.shift_samples // FRAME_SAMPLE_COUNT
            for index, frame in enumerate(frames):
                is_last = index == len(frames) - 1
                yield frame, "end" if is_last else "onset" if index == onset_frame else ""
            position = spoken.start_frame + len(frames)
        yield from repeat(silent, self._plan.frame_count - position)

    def _note_mark(self, mark: Mark, at_s: float) -> None:
        turns = self.record.turns
        if mark == "onset":
            turns.append(TurnRecord(len(turns), at_s))
        else:
            turns[-1].speech_end_at_s = at_s

    # What comes back.

    def _take(self, response: pb2.ConverseResponse, at_s: float) -> None:
        match response.WhichOneof("response"):
            case "reply_audio":
                self._take_audio(response.reply_audio.reply_id, response.reply_audio.audio, at_s)
            case "ready":
                self.record.ready_at_s = at_s
                self.record.conversation_id = response.ready.conversation_id
            case "turn_committed":
                self._take_turn(response.turn_committed, at_s)
            case "reply_started":
                turn = self._turns_by_id.get(response.reply_started.turn_id)
                if turn is not None:
                    self._turns_by_reply[response.reply_started.reply_id] = turn
            case "reply_ended":
                self._take_end(response.reply_ended, at_s)
            case "error":
                self.record.errors.append(fault_from_status(response.error.status).reason)

    def _take_turn(self, committed: events_pb2.TurnCommitted, at_s: float) -> None:
        """A commit belongs to the last turn that has been spoken to its end and not been committed yet."""
        turn = self._turns_by_id.get(committed.turn_id)
        if turn is None:
            waiting = [each for each in self.record.turns if each.speech_end_at_s and not each.committed_at_s]
            if not waiting:
                self.record.errors.append("UNEXPECTED_TURN")
                return
            turn = self._turns_by_id[committed.turn_id] = waiting[-1]
        turn.committed_at_s = at_s
        turn.heard_text = committed.text

    def _take_audio(self, reply_id: int, chunk: Any, at_s: float) -> None:
        duration_ms = _ms(chunk.duration)
        self.record.reply_audio_ms += duration_ms
        lateness_ms, gap_ms = self._playing.lateness_ms(reply_id, _ms(chunk.start_offset), duration_ms, at_s)
        self.record.frame_lateness_ms.append(round(lateness_ms, 2))
        if gap_ms > 0:
            self.record.gaps_ms.append(round(gap_ms, 2))
        turn = self._turns_by_reply.get(reply_id)
        if turn is None:
            return
        turn.reply_audio_ms += duration_ms
        turn.last_audio_at_s = at_s
        if turn.first_audio_at_s is None:
            silent_s = _leading_silence_s(chunk.packets)
            turn.first_audio_at_s = None if silent_s is None else at_s + silent_s

    def _take_end(self, ended: events_pb2.ReplyEnded, at_s: float) -> None:
        turn = self._turns_by_reply.pop(ended.reply_id, None)
        if turn is None:
            return
        turn.ended_at_s = at_s
        turn.outcome = events_pb2.ReplyOutcome.Name(ended.outcome).removeprefix("REPLY_OUTCOME_")
        if ended.HasField("latency"):
            turn.stages_ms = {stage: _ms(getattr(ended.latency, stage)) for stage in _STAGES}

    def _note_break(self, error: grpc.aio.AioRpcError) -> None:
        fault = fault_from_rpc_error(error)
        if self.record.ready_at_s is None:
            after_ms = (time.monotonic() - self.record.opened_at_s) * 1000
            self.record.refusal = Refusal(fault.reason, after_ms, fault.retry_after_ms)
        else:
            self.record.ended_by = fault.reason


class _Playing:
    """A listener without a buffer of its own: plays a reply from its first audio on."""

    def __init__(self) -> None:
        self._reply_id = 0
        self._began_at_s = 0.0

    def lateness_ms(
        self, reply_id: int, start_ms: float, duration_ms: float, at_s: float
    ) -> tuple[float, float]:
        """How late a chunk came against the pace of its reply, and how long the listener heard nothing before it."""
        if reply_id != self._reply_id:
            self._reply_id = reply_id
            self._began_at_s = at_s - start_ms / 1000
        since_ms = (at_s - self._began_at_s) * 1000
        # A chunk that is longer than the lead leaves when everything before it has been played.
        paced_ms = max(0.0, min(start_ms, start_ms + duration_ms - _LEAD_MS))
        lateness_ms = since_ms - paced_ms
        gap_ms = max(0.0, since_ms - start_ms)
        if gap_ms > 0:
            self._began_at_s += gap_ms / 1000
        return max(0.0, lateness_ms), gap_ms


async def _write(call: Any, message: bytes) -> bool:
    """Whether it was taken; a call that is over takes nothing, and `read` tells why."""
    try:
        await call.write(message)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return False
    return True


def _leading_silence_s(packets: Any) -> float | None:
    """Seconds of silence before the first sample that can be heard; None where there is no such sample."""
    position = 0
    for packet in packets:
        for sample in array.array("h", packet):
            if abs(sample) > _SILENCE_MAX:
                return position / _OUTPUT_HZ
            position += 1
    return None


def _ms(duration: Duration) -> float:
    return duration.seconds * 1000 + duration.nanos / 1e6
