"""`UtteranceSpans`: a span `asr utterance` for each utterance of a live recognition. Told of events by `call_record`.

The call outlives many utterances, so the trace of each comes in the messages (`belongs_to`), while somebody speaks; one
of which none came belongs to the trace of the call, if that has one.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from parley_asr.events import (
    RecognitionEvent,
    SpeechActivityChanged,
    TranscriptFinished,
    UtteranceFailed,
)
from parley_asr.ports import SAMPLE_RATE_HZ
from parley_asr.voice_activity import ActivityKind
from parley_servicekit.traces import NO_SPAN, NO_TRACES, Span, Traces, is_traceparent, within

_SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000


class UtteranceSpans:
    """At most one utterance is under way. Spans begin when speech is noticed and end with the final transcript."""

    def __init__(
        self,
        traces: Traces = NO_TRACES,
        call_traceparent: str = "",
        model: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """call_traceparent: the call's own. model: its name. clock: monotonic seconds."""
        self._traces = traces
        self._call_traceparent = call_traceparent
        self._model = model
        self._clock = clock
        self._began_ns: int | None = None
        self._span = NO_SPAN
        self._ended_at_s: float | None = None

    def belongs_to(self, traceparent: str) -> None:
        """The utterance under way is part of this trace. Ignored where malformed or nobody is speaking."""
        if self._began_ns is not None and self._span is NO_SPAN and is_traceparent(traceparent):
            self._span = self._start(self._began_ns, traceparent)

    def within(self) -> AbstractContextManager[None]:
        """Log lines of the block belong to the utterance."""
        return within(self._span)

    def tell(self, event: RecognitionEvent) -> None:
        """An event is about to go out."""
        if not self._traces.is_on:
            return
        match event:
            case SpeechActivityChanged(activity) if activity.kind is ActivityKind.STARTED:
                self._began_ns, self._ended_at_s = time.time_ns(), None
            case SpeechActivityChanged(activity) if activity.kind is ActivityKind.ENDED:
                self._ended_at_s = self._clock()
            case TranscriptFinished():
                self._finish(
                    "text" if event.text else "empty", sample_count=event.end_sample - event.start_sample
                )
            case UtteranceFailed():
                self._finish("failed", reason=event.fault.reason)

    def discarded(self) -> None:
        """The utterance under way is forgotten."""
        self._finish("discarded")

    def close(self) -> None:
        """The call is over."""
        self._finish("cancelled")

    def _finish(self, outcome: str, *, reason: str = "", sample_count: int = 0) -> None:
        if self._began_ns is None:
            return
        span = (
            self._span if self._span is not NO_SPAN else self._start(self._began_ns, self._call_traceparent)
        )
        span.note(outcome=outcome, model=self._model, audio_ms=sample_count // _SAMPLES_PER_MS)
        if self._ended_at_s is not None:
            span.note(final_ms=round((self._clock() - self._ended_at_s) * 1000))
        span.end(reason=reason)
        self._began_ns, self._span, self._ended_at_s = None, NO_SPAN, None

    def _start(self, began_ns: int, parent: str) -> Span:
        return self._traces.start("asr utterance", parent=parent, start_ns=began_ns, is_server=True)
