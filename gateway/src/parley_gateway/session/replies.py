"""`Replies`: the replies of a session, from the decision to answer to the record of what was heard."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from parley_gateway.conversation import Event, Message, ReplyEnded, ReplyOutcome
from parley_gateway.latency import LatencyMarks
from parley_gateway.session.config import SessionConfig
from parley_gateway.session.outbox import Outbox
from parley_gateway.session.outputs import ReplyEndedOutput
from parley_gateway.session.replying import Reply, ReplyServices
from parley_gateway.session.services import SessionServices
from parley_gateway.turns import events
from parley_servicekit.faults import Fault
from parley_servicekit.logs import get_logger

_log = get_logger()


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a reply ended, frozen at the moment of the decision."""

    outcome: ReplyOutcome
    heard_text: str
    played_ms: float


class Replies:
    """At most one reply goes on at a time; one that was stopped may still be winding up."""

    def __init__(
        self,
        services: SessionServices,
        outbox: Outbox,
        now_ms: Callable[[], float],
        feed: Callable[[events.Event], None],
        store: Callable[[Event], Awaitable[None]],
    ) -> None:
        self.faults: dict[int, Fault] = {}
        self._metrics = services.metrics
        self._outbox = outbox
        self._now_ms = now_ms
        self._store = store
        self._services = ReplyServices(
            services.chat_model, services.text_to_speech, outbox, now_ms, feed, store
        )
        self._replies: dict[int, Reply] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._endings: dict[int, _Ending] = {}

    # At once, from within the turn taker's decision.

    def prepare(self, reply_id: int, config: SessionConfig, marks: LatencyMarks) -> None:
        """A reply was decided upon."""
        self._replies[reply_id] = Reply(
            reply_id,
            config.generation,
            config.speaking if config.wants_audio else None,
            marks,
            self._services,
            wants_text=config.wants_text,
        )

    def pause(self, reply_id: int) -> None:
        """Let no audio of it leave."""
        self._replies[reply_id].pause()

    def resume(self, reply_id: int) -> None:
        """Let its audio leave again."""
        self._replies[reply_id].resume()

    def reported(self, reply_id: int, played_ms: float) -> None:
        """The client has played so much of it."""
        if reply_id in self._replies and reply_id not in self._endings:
            self._replies[reply_id].playout.reported(max(0.0, played_ms), self._now_ms())

    def stop(self, reply_id: int, outcome: ReplyOutcome) -> None:
        """It is over: nothing of it leaves any more, and what was heard is settled."""
        reply = self._replies[reply_id]
        now_ms = self._now_ms()
        self._endings[reply_id] = _Ending(outcome, reply.heard_text(now_ms), reply.playout.heard_ms(now_ms))
        if outcome is not ReplyOutcome.COMPLETED:
            self._outbox.silence(reply_id)

    # In order, as actions are carried out.

    def start(self, reply_id: int, messages: list[Message], tasks: asyncio.TaskGroup) -> None:
        """Begin to make it, unless it was stopped meanwhile."""
        if reply_id not in self._endings:
            reply = self._replies[reply_id]
            self._tasks[reply_id] = tasks.create_task(reply.run(messages), name=f"reply.{reply_id}")

    async def finish(self, reply_id: int) -> None:
        """Wind up a stopped reply: upstream is cancelled, then the ending is stored and told."""
        task = self._tasks.pop(reply_id, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        reply, ending = self._replies.pop(reply_id), self._endings.pop(reply_id)
        if reply.fault is not None:
            self.faults[reply_id] = reply.fault
        await self._store(ReplyEnded(reply_id, ending.outcome, ending.heard_text, round(ending.played_ms)))
        latency = reply.marks.latency()
        self._metrics.reply_ended(ending.outcome, latency)
        _log_ending(reply_id, ending, reply)
        await self._outbox.put(
            ReplyEndedOutput(
                reply_id,
                ending.outcome,
                ending.heard_text,
                latency,
                reply.prompt_token_count,
                reply.completion_token_count,
                reply.playout.sent_ms,
                ending.played_ms,
            )
        )

    async def abandon(self) -> None:
        """The session breaks: cancel what still runs."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()))


def _log_ending(reply_id: int, ending: _Ending, reply: Reply) -> None:
    latency = reply.marks.latency()
    _log.info(
        "reply.ended",
        reply_id=reply_id,
        outcome=ending.outcome.value,
        reason=reply.fault.reason if reply.fault else "",
        played_ms=round(ending.played_ms),
        audio_ms=round(reply.playout.sent_ms),
        voice_to_voice_ms=round(latency.voice_to_voice_ms) if latency else None,
    )
