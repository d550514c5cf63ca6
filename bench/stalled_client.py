"""A client that stops reading in the middle of a reply, and what had been sent for it when it reads again.

For the scenario `interruption`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_client import Fault, LiveConversation, Parley

_READS_FIRST_MS = 1000.0
# What was buffered comes in one go; the next audio after it comes at the pace of playing.
_BURST_GAP_S = 0.05
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Stall:
    """buffered_ms: audio that came at once when reading went on; ended_by: why the stream was over by then."""

    buffered_ms: float
    ended_by: str


async def stalled(target: str, text: str, stall_s: float) -> Stall:
    """Ask with `text` for a long reply, read a second of it, read nothing for stall_s, and read again."""
    async with Parley(target) as parley, parley.converse() as conversation:
        responses = aiter(conversation)
        await conversation.send_text(text)
        read_ms = 0.0
        async with asyncio.timeout(_PATIENCE_S):
            while read_ms < _READS_FIRST_MS:
                read_ms += _audio_ms(await anext(responses))
        await _send_silence(conversation, stall_s)
        return await burst(responses)


async def _send_silence(conversation: LiveConversation, for_s: float) -> None:
    """The microphone stays on: only reading has stopped."""
    silence = bytes(3200)
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        await conversation.send_audio([silence])
        await asyncio.sleep(0.1)


async def burst(responses: AsyncIterator[pb2.ConverseResponse]) -> Stall:
    """Count audio until none has come for a moment; text may go on coming, it is not paced."""
    buffered_ms = 0.0
    try:
        async with asyncio.timeout(_BURST_GAP_S) as patience:
            async for response in responses:
                audio_ms = _audio_ms(response)
                if audio_ms:
                    buffered_ms += audio_ms
                    patience.reschedule(asyncio.get_running_loop().time() + _BURST_GAP_S)
        return Stall(buffered_ms, "ended")
    except TimeoutError:
        return Stall(buffered_ms, "")
    except Fault as fault:
        return Stall(buffered_ms, fault.reason)


def _audio_ms(response: pb2.ConverseResponse) -> float:
    if not response.HasField("reply_audio"):
        return 0.0
    duration = response.reply_audio.audio.duration
    return duration.seconds * 1000 + duration.nanos / 1e6
