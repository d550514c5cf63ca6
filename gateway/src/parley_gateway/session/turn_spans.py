"""`TurnSpans`: the trace of each turn of a session. Made by the session, which lets it watch; ended by `Replies`.

A span `turn` goes from the first speech sample to the end of the reply, in a trace of its own. Its five children are
the segments of `Latency`, as far as the reply came; what asr, llm and tts do for the turn are further ones, of theirs.
Nothing here tells what was said, and nothing is done where traces are off.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from parley_gateway.latency import LatencyMarks
from parley_gateway.session.config import SessionConfig
from parley_gateway.session.listening import Listening
from parley_gateway.turns import actions, events
from parley_servicekit.traces import NO_SPAN, Attribute, Span, Traces, within

_NS_PER_MS = 1_000_000


@dataclass(slots=True)
class _Turn:
    """A span under way, and what it will be said of it. zero_ns: when the session's clock was 0, since the epoch."""

    span: Span
    zero_ns: int
    reason: str = ""
    notes: dict[str, Attribute] = field(default_factory=dict)

    def ns(self, at_ms: float) -> int:
        return self.zero_ns + round(at_ms * _NS_PER_MS)


class TurnSpans:
    """At most one turn is being spoken; replies to some may be under way."""

    def __init__(
        self,
        traces: Traces,
        now_ms: Callable[[], float],
        arrived_at_ms: Callable[[float], float | None],
        listening: Listening,
        ids: Mapping[str, str],
        config: SessionConfig,
    ) -> None:
        """now_ms: the session's clock; arrived_at_ms: by it, when the sample at an offset of the input came.

        listening is told the trace of what is being spoken. ids: of session and conversation. The client's own trace,
        in config, is linked to and no parent: a call outlives many turns, and clients shall not decide what is sampled.
        """
        self._traces = traces
        self._now_ms = now_ms
        self._arrived_at_ms = arrived_at_ms
        self._listening = listening
        self._ids = ids
        self._caller = config.traceparent
        self._spoken: _Turn | None = None
        self._committed: actions.CommitTurn | None = None
        self._replied: dict[int, _Turn] = {}

    def watch(self, event: events.Event, decided: list[actions.Action]) -> list[actions.Action]:
        """Something happened; what was decided upon it, and is about to be done, comes back as it is."""
        if self._traces.is_on:
            self._watch(event, decided)
        return decided

    def _watch(self, event: events.Event, decided: list[actions.Action]) -> None:
        if isinstance(event, events.SpeechStarted) and self._spoken is None:
            self._spoken = self._begin(event.offset_ms)
            self._listening.belongs_to(self._spoken.span.traceparent)
        for action in decided:
            self._take(action)
        if isinstance(event, events.TranscriptFinal):
            self._dismiss("not_committed")
        elif isinstance(event, events.RecognitionFailed):
            self._dismiss("failed", event.reason)

    def within(self, reply_id: int) -> AbstractContextManager[None]:
        """Calls, log lines and tasks of the block belong to the turn that the reply answers."""
        turn = self._replied.get(reply_id)
        return within(NO_SPAN if turn is None else turn.span)

    def end(
        self, reply_id: int, outcome: str, reason: str, marks: LatencyMarks, **notes: Attribute
    ) -> str | None:
        """The reply is over. reason: the fault's, empty where the turn taker found the failure.

        The result is the id of its trace; None where there is none to be seen.
        """
        turn = self._replied.pop(reply_id, None)
        if turn is None:
            return None
        for name, start_ms, end_ms in _segments(marks):
            turn.span.child(name, turn.ns(start_ms), turn.ns(end_ms))
        latency = marks.latency()
        if latency is not None:
            turn.notes["voice_to_voice_ms"] = round(latency.voice_to_voice_ms, 3)
        self._finish(turn, outcome, (turn.reason or reason) if outcome == "failed" else "", **notes)
        return turn.span.trace_id

    def close(self) -> None:
        """The session is over: what is under way goes no further."""
        self._dismiss("not_committed")
        for turn in self._replied.values():
            self._finish(turn, "interrupted", "")
        self._replied.clear()

    def _take(self, action: actions.Action) -> None:
        match action:
            case actions.CommitTurn():
                self._committed = action
            case actions.StartReply():
                self._replied[action.reply_id] = self._answered(action)
            case actions.CancelReply() if action.reply_id in self._replied:
                self._replied[action.reply_id].notes["interrupted_by"] = action.reason.value.lower()
            case actions.ReportError() if action.reply_id in self._replied:
                self._replied[action.reply_id].reason = action.reason
            case actions.DiscardRecognition():
                self._dismiss("not_committed")

    def _answered(self, action: actions.StartReply) -> _Turn:
        commit = self._committed if action.turn_id is not None else None
        if commit is None or commit.is_typed or self._spoken is None:
            turn = self._begin(None if commit is None else commit.start_offset_ms)
        else:
            turn, self._spoken = self._spoken, None
        turn.notes["reply_id"] = action.reply_id
        if commit is not None:
            turn.notes["turn_id"] = str(commit.turn_id)
            turn.notes["turn_revision"] = commit.revision
            turn.notes["source"] = "typed" if commit.is_typed else "spoken"
        return turn

    def _begin(self, speech_offset_ms: float | None) -> _Turn:
        """A turn whose first speech sample lies at that offset of the input; None: it begins now."""
        now_ms = self._now_ms()
        began_at_ms = None if speech_offset_ms is None else self._arrived_at_ms(speech_offset_ms)
        zero_ns = time.time_ns() - round(now_ms * _NS_PER_MS)
        start_ns = zero_ns + round((now_ms if began_at_ms is None else began_at_ms) * _NS_PER_MS)
        return _Turn(self._traces.start("turn", link=self._caller, start_ns=start_ns), zero_ns)

    def _dismiss(self, outcome: str, reason: str = "") -> None:
        if self._spoken is not None:
            self._finish(self._spoken, outcome, reason)
            self._spoken = None

    def _finish(self, turn: _Turn, outcome: str, reason: str, **notes: Attribute) -> None:
        turn.span.note(**self._ids, **turn.notes, **notes, outcome=outcome)
        turn.span.end(turn.ns(self._now_ms()), reason=reason)


def _segments(marks: LatencyMarks) -> list[tuple[str, float, float]]:
    """Name, start and end of the segments that are complete, on the session's clock in milliseconds."""
    segments: list[tuple[str, float, float]] = []
    reached_ms = marks.speech_end_at_ms
    latency = marks.latency()
    if latency is not None:
        for name, length_ms in latency.stages_ms().items():
            segments.append((name, reached_ms, reached_ms + length_ms))
            reached_ms += length_ms
        return segments
    moments = {
        "endpointing": marks.utterance_end_at_ms,
        "asr.final": marks.transcript_at_ms,
        "llm.first_token": marks.first_token_at_ms,
        "tts.first_audio": marks.first_speech_at_ms,
    }
    for name, moment_ms in moments.items():
        if moment_ms is None:
            break
        segments.append((name, reached_ms, max(reached_ms, moment_ms)))
        reached_ms = max(reached_ms, moment_ms)
    return segments
