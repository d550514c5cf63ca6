"""The scripted ends of every in-process session: reply audio, waits, and an output that takes audio as it is played."""

import asyncio
import time
from collections.abc import Iterator

from bench.peers.record import SessionRecord
from bench.peers.workload import LEAD_MS, REPLY_CHUNK_MS, REPLY_SAMPLE_RATE_HZ, ScriptedTurn, Workload

_REPLY_CHUNK = (b"\x00\x10" + b"\x00\xf0") * (REPLY_SAMPLE_RATE_HZ * REPLY_CHUNK_MS // 2000)
PARTIAL_EVERY_FRAMES = 12
"""A partial transcript as often as Parley's scripted recogniser has one: a word every 240 ms of speech."""


def reply_chunks(workload: Workload) -> Iterator[bytes]:
    """The reply as 16-bit mono audio in pieces of `REPLY_CHUNK_MS`."""
    for _ in range(workload.reply_ms // REPLY_CHUNK_MS):
        yield _REPLY_CHUNK


def words_heard(turn: ScriptedTurn, speech_frame_count: int) -> str:
    """The partial transcript after so many frames of speech."""
    return " ".join(turn.heard.split()[: speech_frame_count // PARTIAL_EVERY_FRAMES])


async def wait_ms(duration_ms: float) -> None:
    """What a scripted engine takes."""
    await asyncio.sleep(duration_ms / 1000)


class PacedOutput:
    """A person's loudspeaker: takes audio at most `LEAD_MS` ahead of what has been played, at real-time pace."""

    def __init__(self, record: SessionRecord) -> None:
        self._record = record
        self._played_until = 0.0

    async def take(self, duration_ms: float) -> None:
        """Takes a piece of audio; returns when there is room for the next."""
        self._record.reply_audio(duration_ms)
        now = time.monotonic()
        self._played_until = max(now, self._played_until) + duration_ms / 1000
        await asyncio.sleep(max(0.0, self._played_until - now - LEAD_MS / 1000))

    @property
    def left_s(self) -> float:
        """Audio that was taken and is not yet played."""
        return max(0.0, self._played_until - time.monotonic())
