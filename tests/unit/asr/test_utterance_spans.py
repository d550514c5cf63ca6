"""Spans of utterances: one for each, in the trace that the caller tells while it is spoken."""

import pytest

from parley_asr.events import SpeechActivityChanged, TranscriptFinished, UtteranceFailed
from parley_asr.utterance_spans import UtteranceSpans
from parley_asr.voice_activity import Activity, ActivityKind
from parley_servicekit.faults import Fault
from support.recorded_traces import TRACEPARENT, RecordedTraces

STARTED = SpeechActivityChanged(Activity(ActivityKind.STARTED, 16_000))
ENDED = SpeechActivityChanged(Activity(ActivityKind.ENDED, 32_000))
CALL, TURN, OTHER = (TRACEPARENT.format(number, number) for number in (1, 2, 3))


def final(text: str = "hello there", index: int = 0) -> TranscriptFinished:
    return TranscriptFinished(index, text, (), 16_000, 32_000)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def traces() -> RecordedTraces:
    return RecordedTraces()


def test_an_utterance_is_part_of_the_turn_that_the_caller_tells(traces: RecordedTraces) -> None:
    clock = Clock()
    spans = UtteranceSpans(traces, CALL, "tiny", clock)
    spans.tell(STARTED)
    spans.belongs_to(TURN)
    spans.tell(ENDED)
    clock.now_s += 0.04
    spans.tell(final())
    (span,) = traces.spans
    traces.assert_all_ended_once()
    assert (span.name, span.parent, span.is_server, span.reason) == ("asr utterance", TURN, True, "")
    assert span.attributes == {"outcome": "text", "model": "tiny", "audio_ms": 1000, "final_ms": 40}
    assert span.start_ns is not None
    assert "hello" not in repr(span)


def test_each_utterance_is_in_its_own_turn(traces: RecordedTraces) -> None:
    spans = UtteranceSpans(traces, CALL)
    for index, turn in enumerate((TURN, OTHER)):
        spans.tell(STARTED)
        spans.belongs_to(turn)
        spans.tell(ENDED)
        spans.tell(final(index=index))
    assert [span.parent for span in traces.spans] == [TURN, OTHER]
    traces.assert_all_ended_once()


def test_one_of_which_no_trace_was_told_is_in_the_calls(traces: RecordedTraces) -> None:
    spans = UtteranceSpans(traces, CALL)
    spans.belongs_to(TURN)  # nobody speaks
    spans.tell(STARTED)
    spans.tell(ENDED)
    spans.tell(final(""))
    (span,) = traces.spans
    assert (span.parent, span.attributes["outcome"]) == (CALL, "empty")


def test_a_second_trace_for_the_same_utterance_is_ignored(traces: RecordedTraces) -> None:
    spans = UtteranceSpans(traces)
    spans.tell(STARTED)
    spans.belongs_to(TURN)
    spans.belongs_to(OTHER)
    spans.tell(final())
    assert [span.parent for span in traces.spans] == [TURN]
    traces.assert_all_ended_once()


@pytest.mark.parametrize(
    "nonsense", ["x", TURN[:-1], TURN + "0", "00-" + "a" * 100_000, TURN.replace("0", "é")]
)
def test_a_malformed_trace_is_ignored(traces: RecordedTraces, nonsense: str) -> None:
    spans = UtteranceSpans(traces, CALL)
    spans.tell(STARTED)
    spans.belongs_to(nonsense)
    spans.tell(final())
    assert [span.parent for span in traces.spans] == [CALL]


def test_a_failed_utterance_has_its_reason_and_ends_once(traces: RecordedTraces) -> None:
    spans = UtteranceSpans(traces)
    spans.tell(STARTED)
    spans.tell(ENDED)
    spans.tell(UtteranceFailed(0, Fault.unavailable("DECODING_FAILED", "lost")))
    spans.tell(final(""))  # follows every ENDED
    (span,) = traces.spans
    assert (span.attributes["outcome"], span.reason) == ("failed", "DECODING_FAILED")
    traces.assert_all_ended_once()


@pytest.mark.parametrize(("method", "outcome"), [("discarded", "discarded"), ("close", "cancelled")])
def test_an_utterance_that_is_given_up_ends_too(traces: RecordedTraces, method: str, outcome: str) -> None:
    spans = UtteranceSpans(traces)
    spans.tell(STARTED)
    getattr(spans, method)()
    getattr(spans, method)()
    (span,) = traces.spans
    assert (span.attributes["outcome"], span.reason) == (outcome, "")
    traces.assert_all_ended_once()


def test_nothing_happens_where_traces_are_off() -> None:
    spans = UtteranceSpans()
    spans.tell(STARTED)
    spans.belongs_to(TURN)
    spans.tell(ENDED)
    spans.tell(final())
    spans.close()
