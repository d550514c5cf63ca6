"""Talks through microphone and loudspeaker. Behind `parley talk` without files. Needs the extra `microphone`."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli.spoken_file import INPUT_HZ, OUTPUT_HZ
from parley_client import LiveConversation, Parley

_FRAME_SAMPLES = INPUT_HZ * 20 // 1000
_SAMPLE_BYTES = 2
_REPORT_EVERY_S = 0.1
# A second of microphone audio may wait for the gateway; older audio is of no use and is dropped.
_WAITING_MAX_COUNT = 50


class MicrophoneError(Exception):
    """There is no way to record or play here; the message says what to do."""


class Loudspeaker:
    """Plays reply audio and counts what was really played. `fill` is called by the sound card's own thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self._reply_id = 0
        self._played_bytes = 0
        self._underrun_count = 0

    def play(self, reply_id: int, packet: bytes) -> None:
        """Append audio; a new reply throws away what is left of the one before."""
        with self._lock:
            if reply_id != self._reply_id:
                self._buffer.clear()
                self._reply_id, self._played_bytes, self._underrun_count = reply_id, 0, 0
            self._buffer += packet

    def stop(self) -> None:
        """Throw away what has not been played."""
        with self._lock:
            self._buffer.clear()

    def played(self) -> tuple[int, float, int]:
        """Reply, milliseconds played of it, underruns."""
        with self._lock:
            return self._reply_id, self._played_bytes / _SAMPLE_BYTES / OUTPUT_HZ * 1000, self._underrun_count

    def fill(self, output: Any, frame_count: int, _time: Any, _status: Any) -> None:
        """The sound card wants `frame_count` samples."""
        wanted = frame_count * _SAMPLE_BYTES
        with self._lock:
            piece = bytes(self._buffer[:wanted])
            del self._buffer[:wanted]
            if 0 < len(piece) < wanted:
                self._underrun_count += 1
            self._played_bytes += len(piece)
        output[:] = piece + bytes(wanted - len(piece))


async def talk(
    parley: Parley,
    config: config_pb2.ConversationConfig,
    show: Callable[[pb2.ConverseResponse], None],
    stop: asyncio.Event,
) -> str:
    """Until `stop`, or until the gateway ends it; the conversation's id. Raises MicrophoneError, Fault."""
    speaker = Loudspeaker()
    async with _sound_card(speaker) as frames, parley.converse(config) as conversation:
        show(pb2.ConverseResponse(ready=conversation.ready))
        async with asyncio.TaskGroup() as tasks:
            talking = tasks.create_task(_talk(conversation, frames, speaker), name="microphone.talk")
            leaving = tasks.create_task(_leave(conversation, talking, stop), name="microphone.leave")
            async for response in conversation:
                _hear(response, speaker)
                show(response)
            talking.cancel()
            leaving.cancel()
        return conversation.ready.conversation_id


async def _talk(conversation: LiveConversation, frames: "asyncio.Queue[bytes]", speaker: Loudspeaker) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_listen(conversation, frames), name="microphone.listen")
        tasks.create_task(_report(conversation, speaker), name="microphone.report")


async def _leave(conversation: LiveConversation, talking: "asyncio.Task[None]", stop: asyncio.Event) -> None:
    await stop.wait()
    talking.cancel()
    await conversation.end()


def _hear(response: pb2.ConverseResponse, speaker: Loudspeaker) -> None:
    kind = response.WhichOneof("response")
    if kind == "reply_audio":
        for packet in response.reply_audio.audio.packets:
            speaker.play(response.reply_audio.reply_id, packet)
    elif kind == "reply_ended" and response.reply_ended.outcome == events_pb2.REPLY_OUTCOME_INTERRUPTED:
        speaker.stop()


async def _listen(conversation: LiveConversation, frames: "asyncio.Queue[bytes]") -> None:
    while True:
        await conversation.send_audio([await frames.get()])


async def _report(conversation: LiveConversation, speaker: Loudspeaker) -> None:
    reported: tuple[int, float] = (0, 0.0)
    while True:
        await asyncio.sleep(_REPORT_EVERY_S)
        reply_id, played_ms, underrun_count = speaker.played()
        if reply_id and (reply_id, played_ms) != reported:
            reported = (reply_id, played_ms)
            await conversation.report_playback(reply_id, played_ms, underrun_count)


@asynccontextmanager
async def _sound_card(speaker: Loudspeaker) -> AsyncIterator["asyncio.Queue[bytes]"]:
    """Microphone frames of 20 ms while the context lasts; the speaker is fed meanwhile."""
    try:
        import sounddevice  # noqa: PLC0415 - optional, and fails at import where PortAudio is missing
    except (ImportError, OSError) as error:
        raise MicrophoneError(
            "no microphone support here: install PortAudio (Debian: apt-get install libportaudio2) and the package "
            "sounddevice, or talk with sound files: --input FILE.wav --output REPLY.wav"
        ) from error
    loop = asyncio.get_running_loop()
    frames: asyncio.Queue[bytes] = asyncio.Queue()

    def keep(frame: bytes) -> None:
        if frames.qsize() >= _WAITING_MAX_COUNT:
            frames.get_nowait()
        frames.put_nowait(frame)

    def record(input_: Any, _count: int, _time: Any, _status: Any) -> None:
        loop.call_soon_threadsafe(keep, bytes(input_))

    settings = {"channels": 1, "dtype": "int16"}
    try:
        with (
            sounddevice.RawInputStream(
                samplerate=INPUT_HZ, blocksize=_FRAME_SAMPLES, callback=record, **settings
            ),
            sounddevice.RawOutputStream(samplerate=OUTPUT_HZ, callback=speaker.fill, **settings),
        ):
            yield frames
    except sounddevice.PortAudioError as error:
        raise MicrophoneError(
            f"no microphone and loudspeaker that can be used ({error.args[0]}); check the sound settings, or talk with "
            "sound files: --input FILE.wav --output REPLY.wav"
        ) from error
