"""`cut_replies`: somebody who asks, listens for a while and stops the reply. For the scenario `heard_text`.

Plays as a client without a buffer does: from the first audio on, in real time, later where audio comes late.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.duration_pb2 import Duration

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_client import LiveConversation, Parley

_PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class Cut:
    """after_ms: of audio played; reports: whether the client says how much was played, just before it interrupts."""

    after_ms: float
    reports: bool


@dataclass
class CutReply:
    """What was played when it was cut. phrases: text by start, in milliseconds from the reply's first sample."""

    cut: Cut
    reply_id: int = 0
    played_ms: float = 0.0
    outcome: int = 0
    told_text: str = ""
    phrases: dict[float, str] = field(default_factory=dict)


class _Ear:
    """What has come of the reply, and how much of it has been played by now."""

    def __init__(self, reply: CutReply) -> None:
        self.reply = reply
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self._came_ms = 0.0
        self._anchor_s = 0.0
        self._anchor_ms = 0.0

    def played_ms(self) -> float:
        return min(self._came_ms, self._anchor_ms + (time.monotonic() - self._anchor_s) * 1000)

    async def wait_played(self, until_ms: float) -> None:
        """Return when so much has been played, or the reply is over before."""
        while not self.ended.is_set():
            rest_ms = until_ms - self.played_ms()
            if rest_ms <= 0:
                return
            await asyncio.sleep(rest_ms / 1000)

    def take(self, response: pb2.ConverseResponse) -> None:
        match response.WhichOneof("response"):
            case "reply_started":
                self.reply.reply_id = response.reply_started.reply_id
            case "phrase":
                mark = response.phrase.phrase
                self.reply.phrases[_ms(mark.start_offset)] = mark.text
            case "reply_audio":
                if self.played_ms() >= self._came_ms:  # dry: playing goes on with this
                    self._anchor_s, self._anchor_ms = time.monotonic(), self._came_ms
                self._came_ms += _ms(response.reply_audio.audio.duration)
                self.started.set()
            case "reply_ended":
                self.reply.outcome = response.reply_ended.outcome
                self.reply.told_text = response.reply_ended.heard_text
                self.ended.set()


async def cut_replies(target: str, asked: Sequence[str], cuts: Sequence[Cut]) -> tuple[str, list[CutReply]]:
    """The conversation's id and its replies; the n-th one answers asked[n] and is cut as cuts[n] says."""
    config = config_pb2.ConversationConfig()
    replies = []
    async with Parley(target) as parley, parley.converse(config) as conversation:
        responses = aiter(conversation)
        for text, cut in zip(asked, cuts, strict=True):
            replies.append(await _cut_one(conversation, responses, text, cut))
        await conversation.end()
        return conversation.ready.conversation_id, replies


async def _cut_one(conversation: LiveConversation, responses: Any, text: str, cut: Cut) -> CutReply:
    reply = CutReply(cut)
    ear = _Ear(reply)

    async def listen() -> None:
        while not ear.ended.is_set():
            ear.take(await anext(responses))

    async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(listen(), name="cuts.listen")
        await conversation.send_text(text)
        await ear.started.wait()
        await ear.wait_played(cut.after_ms)
        reply.played_ms = ear.played_ms()
        if cut.reports:
            await conversation.report_playback(reply.reply_id, reply.played_ms)
        await conversation.interrupt()
    return reply


def _ms(duration: Duration) -> float:
    return duration.seconds * 1000 + duration.nanos / 1e6
