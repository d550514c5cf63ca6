"""Traces: off at no cost, on by the standard variables, W3C context in and out, and collectors that take nothing."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.logs import configure_logs, get_logger
from parley_servicekit.trace_export import ExportedTraces
from parley_servicekit.traces import (
    NO_SPAN,
    NO_TRACES,
    call_metadata,
    is_wanted,
    open_traces,
    serving,
    traceparent_of,
    within,
)
from support.recorded_traces import RecordedTraces

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = f"00-{TRACE_ID}-{PARENT_ID}-01"
NAMED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}


class Context:
    """What a servicer gets from gRPC, as far as traces are concerned."""

    def __init__(self, *metadata: tuple[str, str | bytes]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata


def exported(exporter: InMemorySpanExporter, traces: ExportedTraces) -> dict[str, ReadableSpan]:
    traces.close()
    return {span.name: span for span in exporter.get_finished_spans()}


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)
    return InMemorySpanExporter()


# On and off.


@pytest.mark.parametrize(
    ("environ", "is_on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        (NAMED, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4317"}, True),
        (NAMED | {"OTEL_SDK_DISABLED": "true"}, False),
        (NAMED | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (NAMED | {"OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_the_standard_variables_turn_traces_on(environ: dict[str, str], is_on: bool) -> None:
    assert is_wanted(environ) is is_on


def test_a_process_without_traces_does_not_even_load_the_sdk() -> None:
    # Of the SDK's metrics the Redis client loads something by itself.
    code = (
        "import sys, parley_gateway.bootstrap, parley_asr.bootstrap, parley_llm.bootstrap, parley_tts.bootstrap\n"
        "from parley_servicekit.traces import open_traces\n"
        "assert not open_traces('gateway', {}).is_on\n"
        "heavy = ('opentelemetry.sdk.trace', 'opentelemetry.exporter')\n"
        "assert not [name for name in sys.modules if name.startswith(heavy)]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_where_traces_are_off_everything_is_nothing() -> None:
    span = NO_TRACES.start("turn", parent=CALLER)
    assert span is NO_SPAN
    with within(span), serving(NO_TRACES, "llm answer", None) as served:
        assert call_metadata() is None
        served.note(outcome="x")
        served.child("part", 1, 2)
        served.end()
    assert span.trace_id is None


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "lossy"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "-1"},
    ],
)
def test_variables_that_cannot_be_used_are_told_and_turn_traces_off(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    configure_logs("asr", stream=written)
    for name, value in (NAMED | environ).items():
        monkeypatch.setenv(name, value)
    assert open_traces("asr") is NO_TRACES
    assert [json.loads(line)["event"] for line in written.getvalue().splitlines()] == ["traces.off"]


# Spans.


def test_a_span_has_its_times_its_parts_and_its_attributes(exporter: InMemorySpanExporter) -> None:
    traces = ExportedTraces("parley-gateway", exporter)
    span = traces.start("turn", start_ns=1_000)
    span.note(outcome="completed", reply_id=3)
    span.child("endpointing", 1_500, 2_500)
    span.end(9_000)
    spans = exported(exporter, traces)
    turn, part = spans["turn"], spans["endpointing"]
    assert (turn.start_time, turn.end_time, turn.parent) == (1_000, 9_000, None)
    assert turn.attributes == {"parley.outcome": "completed", "parley.reply_id": 3}
    assert turn.status.status_code is StatusCode.UNSET
    assert turn.kind is SpanKind.INTERNAL
    assert (part.start_time, part.end_time) == (1_500, 2_500)
    assert part.parent is not None
    assert part.parent.span_id == turn.context.span_id
    assert span.trace_id == f"{turn.context.trace_id:032x}"
    assert span.traceparent == f"00-{span.trace_id}-{turn.context.span_id:016x}-01"


def test_what_failed_is_an_error_by_its_reason(exporter: InMemorySpanExporter) -> None:
    traces = ExportedTraces("parley-gateway", exporter)
    traces.start("turn").end(reason="LLM_UNAVAILABLE")
    turn = exported(exporter, traces)["turn"]
    assert turn.status.status_code is StatusCode.ERROR
    assert turn.status.description == turn.attributes["parley.reason"] == "LLM_UNAVAILABLE"


def test_a_callers_context_is_parent_or_link(exporter: InMemorySpanExporter) -> None:
    traces = ExportedTraces("parley-asr", exporter)
    traces.start("child", parent=CALLER, is_server=True).end()
    traces.start("linked", link=CALLER).end()
    spans = exported(exporter, traces)
    assert spans["child"].parent is not None
    assert f"{spans['child'].parent.trace_id:032x}" == TRACE_ID
    assert spans["child"].kind is SpanKind.SERVER
    assert spans["linked"].parent is None
    assert [f"{link.context.span_id:016x}" for link in spans["linked"].links] == [PARENT_ID]


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "x",
        "00",
        CALLER[:-1],
        CALLER + "-more",
        CALLER.upper().replace("00-", "FF-", 1),
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{'g' * 32}-{PARENT_ID}-01",
        "\x00" * 55,
        "é" * 55,
        "00-" + "a" * 100_000,
        CALLER.replace("-", " "),
    ],
)
def test_malformed_contexts_count_as_none(nonsense: str, exporter: InMemorySpanExporter) -> None:
    traces = ExportedTraces("parley-asr", exporter)
    traces.start("span", parent=nonsense, link=nonsense).end()
    span = exported(exporter, traces)["span"]
    assert span.parent is None
    assert not span.links
    assert f"{span.context.trace_id:032x}" != TRACE_ID


def test_what_is_not_sampled_says_so_to_those_below_and_is_not_exported(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    traces = ExportedTraces("parley-gateway", exporter)
    span = traces.start("turn")
    span.child("endpointing", 1, 2)
    span.end()
    assert span.trace_id is None
    assert span.traceparent.endswith("-00")
    assert not exported(exporter, traces)


def test_a_parent_that_is_not_sampled_is_followed(exporter: InMemorySpanExporter) -> None:
    traces = ExportedTraces("parley-llm", exporter)
    traces.start("llm answer", parent=CALLER[:-1] + "0").end()
    assert not exported(exporter, traces)


def test_the_service_is_called_after_its_process_unless_the_operator_says_otherwise(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def service_name() -> object:
        exporter.clear()
        exporter._stopped = False
        traces = ExportedTraces("parley-asr", exporter)
        traces.start("span").end()
        return exported(exporter, traces)["span"].resource.attributes["service.name"]

    assert service_name() == "parley-asr"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=ears,deployment.environment=test")
    assert service_name() == "ears"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "listener")
    assert service_name() == "listener"


# Context.


async def test_calls_and_log_lines_of_a_block_and_of_its_tasks_belong_to_its_span() -> None:
    written = io.StringIO()
    configure_logs("gateway", stream=written)
    span = RecordedTraces().start("turn")

    async def call() -> object:
        get_logger().info("called")
        return call_metadata()

    async with asyncio.TaskGroup() as tasks:
        with within(span):
            inside = tasks.create_task(call())
        outside = tasks.create_task(call())
    assert inside.result() == (("traceparent", span.traceparent),)
    assert outside.result() is None
    assert [json.loads(line).get("trace_id") for line in written.getvalue().splitlines()] == [
        span.trace_id,
        None,
    ]


def test_a_caller_is_believed_only_when_it_says_one_thing() -> None:
    assert traceparent_of(Context(("traceparent", CALLER), ("other", "x"))) == CALLER
    assert traceparent_of(Context(("traceparent", CALLER), ("traceparent", CALLER))) == ""
    assert traceparent_of(Context(("traceparent", CALLER.encode()))) == ""
    assert traceparent_of(Context(("traceparent", CALLER + "\n"))) == ""
    assert traceparent_of(Context()) == ""


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (None, "completed", ""),
        (asyncio.CancelledError(), "cancelled", ""),
        (GeneratorExit(), "cancelled", ""),
        (Fault("ABANDONED", "gone", code=FaultCode.CANCELLED), "cancelled", ""),
        (Fault.caller("INVALID_FIELD", "bad", field="x"), "refused", "INVALID_FIELD"),
        (Fault.unavailable("UPSTREAM_CUT", "cut"), "failed", "UPSTREAM_CUT"),
        (ExceptionGroup("g", [Fault.unavailable("UPSTREAM_CUT", "cut")]), "failed", "UPSTREAM_CUT"),
        (RuntimeError("they said hello"), "failed", "INTERNAL"),
    ],
)
def test_a_served_call_tells_how_it_ended(error: BaseException | None, outcome: str, reason: str) -> None:
    traces = RecordedTraces()

    def serve() -> None:
        with serving(traces, "llm answer", Context(("traceparent", CALLER))) as span:
            assert call_metadata() == (("traceparent", span.traceparent),)
            if error is not None:
                raise error

    if error is None:
        serve()
    else:
        with pytest.raises(type(error)):
            serve()
    (span,) = traces.spans
    assert (span.attributes["outcome"], span.reason) == (outcome, reason)
    assert (span.parent, span.is_server, span.end_count) == (CALLER, True, 1)
    assert call_metadata() is None


# Collectors that take nothing.


class _Refusing(SpanExporter):
    def __init__(self) -> None:
        self.refuses = True
        self.span_count = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.span_count += len(spans)
        logging.getLogger("opentelemetry.exporter.otlp").error("Failed to export %s", "everything")
        return SpanExportResult.FAILURE if self.refuses else SpanExportResult.SUCCESS


def test_a_collector_that_refuses_is_told_of_once() -> None:
    written = io.StringIO()
    configure_logs("asr", stream=written)
    exporter = _Refusing()
    traces = ExportedTraces("parley-asr", exporter)
    for _ in range(1000):
        traces.start("span").end()
    traces.close()
    assert exporter.span_count == 1000
    assert [json.loads(line)["event"] for line in written.getvalue().splitlines()] == ["traces.not_taken"]


class _Hanging(SpanExporter):
    def __init__(self) -> None:
        self.is_exporting = threading.Event()
        self.is_shut_down = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.is_exporting.set()
        self.is_shut_down.wait(60)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.is_shut_down.set()


def test_a_collector_that_hangs_is_given_up_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    exporter = _Hanging()
    traces = ExportedTraces("parley-asr", exporter)
    traces.start("span").end()
    assert exporter.is_exporting.wait(10)
    traces.close()
    assert exporter.is_shut_down.is_set()


def test_spans_beyond_the_queue_are_dropped_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    written = io.StringIO()
    configure_logs("asr", stream=written)
    traces = ExportedTraces("parley-asr")
    for _ in range(5000):
        traces.start("span").end()
    assert len(traces._processor._batch_processor._queue) <= 100
    traces.close()
    events = [json.loads(line)["event"] for line in written.getvalue().splitlines()]
    assert len(events) <= 1
