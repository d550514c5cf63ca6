"""No library at all: the same person, scripted engines and output. What that costs is subtracted from peers.

Run in any environment: `python -m bench.peers.plain_process PLAN`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.peers.measuring import Send, main, python_version
from bench.peers.record import SessionRecord
from bench.peers.script import PacedOutput, reply_chunks, wait_ms
from bench.peers.workload import FRAME_BYTES, LAST_OF_SPEECH, REPLY_CHUNK_MS, ScriptedTurn


@asynccontextmanager
async def _session(record: SessionRecord) -> AsyncIterator[Send]:
    output = PacedOutput(record)
    async with asyncio.TaskGroup() as tasks:

        async def reply(turn: ScriptedTurn) -> None:
            await wait_ms(turn.transcript_ms)
            await wait_ms(turn.model_ms)
            await wait_ms(turn.voice_ms)
            for _ in reply_chunks(record.workload):
                await output.take(REPLY_CHUNK_MS)

        async def send(frame: bytes) -> None:
            record.audio_arrived(FRAME_BYTES // 2)
            if frame == LAST_OF_SPEECH:
                tasks.create_task(reply(record.turn_ended()), name="bench.reply")

        yield send


if __name__ == "__main__":
    main(lambda _: _session, python_version())
