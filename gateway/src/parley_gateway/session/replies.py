"""`Replies`: the replies of a session, from the decision to answer to the record of what was heard."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from parley_gateway.conversation import Event, Message, ReplyEnded, ReplyOutcome
from parley_gateway.latency import LatencyMarks
from parley_gateway.session.config import SessionConfig
from parley_gateway.session.outbox import Outbox
from parley_gateway.session.outputs import ReplyEndedOutput, ReplyStartedOutput
from parley_gateway.session.reply_counts import count_playback, turn_outcome
from parley_gateway.session.replying import Reply, ReplyServices
from parley_gateway.session.services import SessionServices
from parley_gateway.session.turn_spans import TurnSpans
from parley_gateway.turns import events
from parley_gateway.turns.actions import CancelReason
from parley_servicekit.faults import Fault
from parley_servicekit.logs import get_logger

_log = get_logger()


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a reply ended, frozen at the moment of the decision."""

    outcome: ReplyOutcome
    heard_text: str
    played_ms: float
    cancel_reason: CancelReason | None


class Replies:
    """At most one reply goes on at a time; one that was stopped may still be winding up."""

    def __init__(
        self,
        services: SessionServices,
        outbox: Outbox,
        now_ms: Callable[[], float],
        feed: Callable[[events.Event], None],
        store: Callable[[Event], Awaitable[None]],
        spans: TurnSpans,
    ) -> None:
        self.faults: dict[int, Fault] = {}
        self._metrics = services.metrics
        self._outbox = outbox
        self._now_ms = now_ms
        self._store = store
        self._spans = spans
        self._services = ReplyServices(
            services.chat_model, services.text_to_speech, outbox, now_ms, feed, store
        )
        self._replies: dict[int, Reply] = {}
        self._announced: dict[int, str] = {}  # the turn that it answers, "" for a greeting
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

    def reported(self, reply_id: int, played_ms: float, underrun_count: int = 0) -> float:
        """The client has played so much of it; the result is how much of that can be, 0 for a reply that is over."""
        if reply_id not in self._replies or reply_id in self._endings:
            return 0.0
        playout = self._replies[reply_id].playout
        played_ms = max(0.0, min(played_ms, playout.sent_ms))
        playout.reported(played_ms, self._now_ms(), underrun_count)
        return played_ms

    def stop(self, reply_id: int, outcome: ReplyOutcome, cancel_reason: CancelReason | None = None) -> None:
        """It is over: nothing of it leaves any more, what was heard is settled, and upstream is being cancelled.

        After `abandon` there is nothing left to stop.
        """
        reply = self._replies.get(reply_id)
        if reply is None:
            return
        now_ms = self._now_ms()
        if cancel_reason is not None and reply.was_perceived:
            self._metrics.barge_in(cancel_reason)
        if outcome is ReplyOutcome.COMPLETED:  # also where the client's last report was lost
            self._endings[reply_id] = _Ending(
                outcome, reply.whole_text(), reply.playout.sent_ms, cancel_reason
            )
        else:
            heard_ms = reply.playout.heard_ms(now_ms)
            self._endings[reply_id] = _Ending(outcome, reply.heard_text(now_ms), heard_ms, cancel_reason)
            if outcome is not ReplyOutcome.FAILED:  # what was written before it broke off counts as read
                self._outbox.silence(reply_id)
        if reply_id in self._tasks:
            self._tasks[reply_id].cancel()

    # In order, as actions are carried out.

    def start(self, reply_id: int, messages: list[Message], tasks: asyncio.TaskGroup) -> None:
        """Begin to make it unless it was stopped meanwhile."""
        if reply_id not in self._endings:
            reply = self._replies[reply_id]
            with self._spans.within(reply_id):  # a task keeps the context that it was made in
                self._tasks[reply_id] = tasks.create_task(reply.run(messages), name=f"reply.{reply_id}")

    async def tell(self, reply_id: int, turn_id: str) -> None:
        """Tell that it has begun; what there is of it follows."""
        await self._outbox.put(ReplyStartedOutput(reply_id, turn_id))
        self._announced[reply_id] = turn_id
        self._replies[reply_id].told()

    async def finish(self, reply_id: int) -> None:
        """Wind up a stopped reply: when upstream is cancelled, the ending is stored and told."""
        if reply_id in self._tasks:
            await asyncio.wait({self._tasks[reply_id]})
        reply = self._replies[reply_id]
        if reply.fault is not None:
            self.faults[reply_id] = reply.fault
        await self._store(self._ended(reply_id))
        await self._outbox.put(self._told_ending(reply_id))
        self._forget(reply_id)

    async def abandon(self) -> None:
        """The session ends: cancel what still runs, and end every reply that was told of and has no end yet."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()))
        for reply_id in [each for each in self._replies if each in self._announced]:
            if reply_id not in self._endings:
                self.stop(reply_id, ReplyOutcome.FAILED)
            with contextlib.suppress(Fault):  # where the store broke the session, it takes this neither
                await self._store(self._ended(reply_id))
            self._outbox.put_now(self._told_ending(reply_id))
            self._forget(reply_id)
        self._spans.close()

    def _ended(self, reply_id: int) -> ReplyEnded:
        ending = self._endings[reply_id]
        return ReplyEnded(reply_id, ending.outcome, ending.heard_text, round(ending.played_ms))

    def _told_ending(self, reply_id: int) -> ReplyEndedOutput:
        reply, ending = self._replies[reply_id], self._endings[reply_id]
        return ReplyEndedOutput(
            reply_id,
            ending.outcome,
            ending.heard_text,
            reply.marks.latency(),
            reply.prompt_token_count,
            reply.completion_token_count,
            reply.playout.sent_ms,
            ending.played_ms,
        )

    def _forget(self, reply_id: int) -> None:
        reply, ending = self._replies.pop(reply_id), self._endings.pop(reply_id)
        self._tasks.pop(reply_id, None)
        if self._announced.pop(reply_id, ""):
            outcome = turn_outcome(ending.outcome, ending.cancel_reason, was_perceived=reply.was_perceived)
            self._metrics.turn_ended(outcome)
        count_playback(self._metrics, reply, ending.heard_text)
        with self._spans.within(reply_id):
            _log_ending(reply_id, ending, reply)
        trace_id = self._spans.end(
            reply_id,
            ending.outcome.value,
            reply.fault.reason if reply.fault else "",
            reply.marks,
            prompt_token_count=reply.prompt_token_count,
            completion_token_count=reply.completion_token_count,
            audio_ms=round(reply.playout.sent_ms),
            played_ms=round(ending.played_ms),
        )
        latency = reply.marks.latency() if reply.marks.is_spoken else None
        self._metrics.reply_ended(ending.outcome, latency, trace_id)


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
