"""`CallRecord`: what one call did, for its metrics and its log line. No text, only counts and times.

Used by the servicer around every call, and told by `streaming_call` and `recording_call` what is going on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from parley_asr.events import (
    RecognitionEvent,
    SpeechActivityChanged,
    TranscriptChanged,
    TranscriptFinished,
    UtteranceFailed,
)
from parley_asr.metrics import Metrics
from parley_asr.ports import SAMPLE_RATE_HZ
from parley_asr.utterance_spans import UtteranceSpans
from parley_asr.voice_activity import ActivityKind
from parley_servicekit.logs import get_logger
from parley_servicekit.outcomes import RequestOutcome, ended_by

_log = get_logger()
_REAL_TIME_FACTOR_MIN_AUDIO_S = 1.0  # below, start-up dominates


class CallRecord:
    """Made by `recorded`."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float], spans: UtteranceSpans) -> None:
        """clock: monotonic seconds."""
        self.spans = spans
        self._metrics = metrics
        self._clock = clock
        self._waiting_since_s: dict[str, float] = {}
        self.is_abandoned = False
        self.audio_sample_count = 0
        self.utterance_count = 0
        self.busy_s = 0.0

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Work on the call's audio is going on."""
        since_s = self._clock()
        try:
            yield
        finally:
            self.busy_s += self._clock() - since_s

    def hear(self, sample_count: int) -> None:
        """Audio came in."""
        self.audio_sample_count += sample_count
        self._metrics.audio.inc(sample_count / SAMPLE_RATE_HZ)

    def finish_asked(self) -> None:
        """The caller ends the utterance: the wait for the final begins."""
        self._waiting_since_s["final"] = self._clock()

    def tell(self, event: RecognitionEvent) -> None:
        """An event is about to go out."""
        match event:
            case SpeechActivityChanged(activity):
                if activity.kind is ActivityKind.STARTED:
                    self._waiting_since_s["partial"] = self._clock()
                elif activity.kind is ActivityKind.ENDED:
                    self._waiting_since_s.setdefault("final", self._clock())
            case TranscriptChanged():
                self._observe("partial")
            case TranscriptFinished(text=text):
                self._observe("final")
                self._waiting_since_s.clear()
                self.utterance_count += 1
                self._metrics.utterances.labels("text" if text else "empty").inc()
            case UtteranceFailed():
                self._metrics.utterances.labels("failed").inc()
                with self.spans.within():
                    _log.warning("utterance.failed", reason=event.fault.reason)
        self.spans.tell(event)

    def _observe(self, what: str) -> None:
        since_s = self._waiting_since_s.pop(what, None)
        if since_s is not None:
            histogram = self._metrics.first_partial if what == "partial" else self._metrics.final
            histogram.observe(self._clock() - since_s)


@contextmanager
def recorded(
    method: str, metrics: Metrics, clock: Callable[[], float], spans: UtteranceSpans
) -> Iterator[CallRecord]:
    """Count, time and log a call, however it ends."""
    record = CallRecord(metrics, clock, spans)
    failure: BaseException | None = None
    started_at_s = clock()
    metrics.streams.labels(method).inc()
    try:
        yield record
    except BaseException as error:
        failure = error
        raise
    finally:
        spans.close()
        outcome, reason = ended_by(failure)
        if record.is_abandoned and failure is None:
            outcome, reason = RequestOutcome.CANCELLED, "ABANDONED"
        metrics.streams.labels(method).dec()
        metrics.request_ended(method, outcome, reason)
        audio_s = record.audio_sample_count / SAMPLE_RATE_HZ
        if audio_s >= _REAL_TIME_FACTOR_MIN_AUDIO_S:
            metrics.real_time_factor.observe(record.busy_s / audio_s)
        _log.info(
            "call.ended",
            method=method,
            outcome=outcome.value,
            reason=reason,
            duration_ms=round((clock() - started_at_s) * 1000),
            audio_ms=round(audio_s * 1000),
            busy_ms=round(record.busy_s * 1000),
            utterance_count=record.utterance_count,
        )
