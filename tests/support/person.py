"""A person in a conversation, for tests: speaks sound files, types, interrupts, and remembers all that came back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_audio.pcm import AudioFormat, Encoding, Samples, decode_pcm, encode_pcm
from parley_audio.resampling import Resampler
from parley_audio.wav import read_wav
from parley_client import LiveConversation, Parley

SPEECH = Path(__file__).parent / "speech"
_INPUT = AudioFormat(Encoding.PCM_S16LE, 16_000)
_OUTPUT = AudioFormat(Encoding.PCM_S16LE, 24_000)
_FRAME_SAMPLES = 320
_FRAME_S = 0.02
_PATIENCE_S = 20.0


class Person:
    """One end of a live conversation. The microphone is always on: silence when nothing is spoken."""

    def __init__(self, conversation: LiveConversation) -> None:
        self.conversation = conversation
        self.responses: list[pb2.ConverseResponse] = []
        self.times_s: list[float] = []
        self._spoken: asyncio.Queue[Samples] = asyncio.Queue()
        self._changed = asyncio.Condition()
        self._is_over = False

    @property
    def conversation_id(self) -> str:
        return self.conversation.ready.conversation_id

    async def say(self, name: str) -> None:
        """Speak one of the recordings; returns when its last sample has left."""
        await self.play(recording(name))

    async def play(self, samples: Samples) -> None:
        """Let the microphone hear samples at 16 kHz; returns when the last one has left."""
        await self._spoken.put(samples)
        await self._spoken.join()

    async def wait_for(
        self, kind: str, is_it: Callable[[pb2.ConverseResponse], bool] = lambda _: True, count: int = 1
    ) -> pb2.ConverseResponse:
        """The count-th response of a kind that fits, among all that came or come."""

        def found() -> list[pb2.ConverseResponse]:
            return [each for each in self.responses if each.WhichOneof("response") == kind and is_it(each)]

        async with asyncio.timeout(_PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(found()) >= count or self._is_over)
        assert len(found()) >= count, f"the session ended without {count} {kind}; there were {self.kinds()}"
        return found()[count - 1]

    async def reply(self, count: int = 1) -> events_pb2.ReplyEnded:
        """The end of the count-th reply."""
        return (await self.wait_for("reply_ended", count=count)).reply_ended

    def kinds(self) -> list[str]:
        """What came, in order, runs of the same kind once."""
        kinds = [str(each.WhichOneof("response")) for each in self.responses]
        return [kind for index, kind in enumerate(kinds) if index == 0 or kind != kinds[index - 1]]

    def written(self, reply_id: int) -> str:
        """The text of a reply that came so far."""
        return "".join(
            each.reply_text.text
            for each in self.responses
            if each.HasField("reply_text") and each.reply_text.reply_id == reply_id
        )

    def audio(self, reply_id: int) -> Samples:
        """The audio of a reply that came so far, at 24 kHz."""
        pieces = [
            decode_pcm(packet, _OUTPUT)
            for each in self.responses
            if each.HasField("reply_audio") and each.reply_audio.reply_id == reply_id
            for packet in each.reply_audio.audio.packets
        ]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    async def _listen(self) -> None:
        try:
            async for response in self.conversation:
                async with self._changed:
                    self.responses.append(response)
                    self.times_s.append(time.monotonic())
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._is_over = True
                self._changed.notify_all()

    async def _speak(self) -> None:
        silence = encode_pcm(np.zeros(_FRAME_SAMPLES, np.float32), _INPUT)
        due_s = time.monotonic()
        while True:
            if self._spoken.empty():
                await self.conversation.send_audio([silence])
                due_s = await _pace(due_s)
                continue
            samples = self._spoken.get_nowait()
            for start in range(0, len(samples), _FRAME_SAMPLES):
                packet = encode_pcm(samples[start : start + _FRAME_SAMPLES], _INPUT)
                await self.conversation.send_audio([packet])
                due_s = await _pace(due_s)
            self._spoken.task_done()


@asynccontextmanager
async def conversing(
    gateway: str, config: config_pb2.ConversationConfig | None = None, *, has_microphone: bool = True
) -> AsyncIterator[Person]:
    """A person in a conversation at `gateway`, who leaves politely at the end."""
    async with Parley(gateway) as parley, parley.converse(config) as conversation:
        person = Person(conversation)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(person._listen(), name="person.listen")
            speaking = tasks.create_task(person._speak(), name="person.speak") if has_microphone else None
            yield person
            if speaking is not None:
                speaking.cancel()
            if not listening.done():
                await conversation.end()


def recording(name: str) -> Samples:
    """One of the recordings in tests/support/speech, at 16 kHz."""
    samples, rate_hz = read_wav(SPEECH / f"{name}.wav")
    resampler = Resampler(rate_hz, 16_000)
    return np.concatenate([resampler.push(samples), resampler.flush()])


async def _pace(due_s: float) -> float:
    due_s = max(due_s + _FRAME_S, time.monotonic() - _FRAME_S)
    await asyncio.sleep(max(0.0, due_s - time.monotonic()))
    return due_s
