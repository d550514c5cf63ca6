"""Speaks a sound file to a gateway, an utterance at a time, and collects the replies. Behind `talk` and `demo`."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_audio.pcm import AudioFormat, Encoding, decode_pcm, encode_pcm
from parley_audio.wav import WavWriter
from parley_cli.sound_files import check_writable, read_samples
from parley_client import Fault, LiveConversation, Parley

INPUT_HZ = 16_000
OUTPUT_HZ = 24_000
_FRAME_MS = 20
_FRAME_SAMPLES = INPUT_HZ * _FRAME_MS // 1000
_INPUT = AudioFormat(Encoding.PCM_S16LE, INPUT_HZ)
_OUTPUT = AudioFormat(Encoding.PCM_S16LE, OUTPUT_HZ)
# How much faster than real time --fast speaks: the recogniser still says in time that an utterance is over.
_FAST = 8.0
# The file is over, nobody speaks and no reply goes on: after so long nothing more will come.
_QUIET_S = 1.5
# Longer than any deadline of the gateway: whoever says nothing for so long will not answer.
_PATIENCE_S = 60.0
_BETWEEN_REPLIES = np.zeros(OUTPUT_HZ // 4, np.float32)

Show = Callable[[pb2.ConverseResponse, float], None]


class SpokenFile:
    """One file spoken into one conversation. While a reply goes on the file waits and the microphone is silent."""

    def __init__(self, source: Path, *, is_fast: bool, show: Show) -> None:
        """show: called with each response and the milliseconds since speaking began. Raises AudioError, OSError."""
        self._samples = read_samples(source, INPUT_HZ)
        self._is_fast = is_fast
        self._show = show
        self._writer: WavWriter | None = None
        self._last_reply_id = 0
        self._is_heard = self._is_answered = False
        self._active_at_s = 0.0
        self.turn_count = 0
        self.conversation_id = ""
        self.latency = events_pb2.Latency()

    async def speak(self, parley: Parley, config: config_pb2.ConversationConfig, target: Path | None) -> None:
        """Until the file and the last reply are over. The replies go to `target`, a WAV file, as they come; nothing is
        overwritten before the conversation has begun. Raises Fault, OSError.
        """
        if target is not None:
            check_writable(target)
        async with parley.converse(config) as conversation:
            self.conversation_id = conversation.ready.conversation_id
            with contextlib.ExitStack() as stack:
                if target is not None:
                    self._writer = stack.enter_context(WavWriter(target, OUTPUT_HZ))
                await self._converse(conversation)

    async def _converse(self, conversation: LiveConversation) -> None:
        began_at_s = self._active_at_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            self._show(pb2.ConverseResponse(ready=conversation.ready), 0.0)
            tasks.create_task(self._send(conversation), name="spoken_file.send")
            async for response in conversation:
                self._show(response, (time.monotonic() - began_at_s) * 1000)
                await self._take(response, conversation)

    async def _send(self, conversation: LiveConversation) -> None:
        position = 0
        frame_s = _FRAME_MS / 1000 / (_FAST if self._is_fast else 1.0)
        silence = encode_pcm(np.zeros(_FRAME_SAMPLES, np.float32), _INPUT)
        due_at_s = time.monotonic()
        while position < len(self._samples) or not self._is_over():
            packet = silence
            if position < len(self._samples) and not self._is_answered:
                packet = encode_pcm(self._samples[position : position + _FRAME_SAMPLES], _INPUT)
                position += _FRAME_SAMPLES
                self._active_at_s = time.monotonic()
            await conversation.send_audio([packet])
            if time.monotonic() - self._active_at_s > _PATIENCE_S:
                raise Fault.deadline(
                    "NO_ANSWER", f"no answer within {_PATIENCE_S:.0f} s; see 'parley doctor'"
                )
            # After a long wait for the gateway the next frame is due a frame later: no burst.
            due_at_s = max(due_at_s + frame_s, time.monotonic() - frame_s)
            await asyncio.sleep(max(0.0, due_at_s - time.monotonic()))
        await conversation.end()

    def _is_over(self) -> bool:
        is_quiet = not self._is_heard and not self._is_answered
        return is_quiet and time.monotonic() - self._active_at_s > _QUIET_S

    async def _take(self, response: pb2.ConverseResponse, conversation: LiveConversation) -> None:
        kind = response.WhichOneof("response")
        if kind not in ("input_acknowledged", "service_level"):
            self._active_at_s = time.monotonic()
        match kind:
            case "speech_activity":
                activity = response.speech_activity.kind
                self._is_heard |= activity == events_pb2.SPEECH_ACTIVITY_KIND_STARTED
                self._is_answered |= activity == events_pb2.SPEECH_ACTIVITY_KIND_ENDED
            case "transcript" if response.transcript.is_final:
                self._is_heard = False
                self._is_answered = bool(response.transcript.text)
            case "turn_committed":
                self.turn_count += 1
            case "reply_audio":
                await self._keep(response.reply_audio, conversation)
            case "reply_ended":
                self._is_answered = False
                self.latency = response.reply_ended.latency
            case "error":
                self._is_heard = self._is_answered = False

    async def _keep(self, reply: pb2.ReplyAudio, conversation: LiveConversation) -> None:
        if self._writer is not None:
            if self._last_reply_id not in (0, reply.reply_id):
                self._writer.write(_BETWEEN_REPLIES)
            for packet in reply.audio.packets:
                self._writer.write(decode_pcm(packet, _OUTPUT))
        self._last_reply_id = reply.reply_id
        if self._is_fast:
            played = reply.audio.start_offset.ToTimedelta() + reply.audio.duration.ToTimedelta()
            await conversation.report_playback(reply.reply_id, played.total_seconds() * 1000)
