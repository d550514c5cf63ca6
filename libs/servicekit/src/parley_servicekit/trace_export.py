"""`ExportedTraces`: spans to an OTLP collector over gRPC, by OpenTelemetry's SDK. Imported by `traces` when on.

A thread of the SDK's sends them in batches from a bounded queue (OTEL_BSP_*), so that a collector that is slow, away or
refuses costs nobody anything but spans. Sampler, resource, headers, certificates and times are the SDK's to read from
the environment.
"""

import importlib.metadata
import logging
import os
import threading
import time
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from parley_servicekit.logs import get_logger
from parley_servicekit.traces import Attribute, Span, is_traceparent

_log = get_logger()
_CLOSE_S = 0.5
# What is encoded at once holds up the event loop; the SDK's own 512 spans take about 8 ms.
_BATCH_MAX_COUNT = 64
_TELL_EVERY_S = 60.0
_propagator = TraceContextTextMapPropagator()


class ExportedTraces:
    """Traces that leave the process. Raises what the SDK raises for OTEL_* variables that it cannot use."""

    is_on = True

    def __init__(self, default_service_name: str, exporter: SpanExporter | None = None) -> None:
        """default_service_name: where OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES tell none (`parley-asr`).

        exporter: None = OTLP as the environment says.
        """
        self._exporter = _QuietExporter(exporter or OTLPSpanExporter())
        batch_max_count = None if os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") else _BATCH_MAX_COUNT
        self._processor = BatchSpanProcessor(self._exporter, max_export_batch_size=batch_max_count)
        provider = TracerProvider(resource=_resource(default_service_name), shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("parley")

    def start(
        self,
        name: str,
        *,
        parent: str = "",
        link: str = "",
        start_ns: int | None = None,
        is_server: bool = False,
    ) -> Span:
        """See Traces.start."""
        linked = trace.get_current_span(_context(link)).get_span_context()
        return _ExportedSpan(
            self._tracer,
            self._tracer.start_span(
                name,
                # Never None, which would mean whatever the SDK calls current.
                context=_context(parent),
                kind=trace.SpanKind.SERVER if is_server else trace.SpanKind.INTERNAL,
                links=[trace.Link(linked)] if linked.is_valid else None,
                start_time=start_ns,
            ),
        )

    def close(self) -> None:
        """Send what is left, for half a second; then give up what is on its way."""
        closing = threading.Thread(target=self._processor.shutdown, name="traces.close", daemon=True)
        closing.start()
        closing.join(_CLOSE_S)
        if closing.is_alive():
            self._exporter.shutdown()
            closing.join(_CLOSE_S)


class _ExportedSpan:
    """A Span of the SDK's."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        context = span.get_span_context()
        is_sampled = context.trace_flags.sampled
        trace_id = trace.format_trace_id(context.trace_id)
        self.trace_id = trace_id if is_sampled else None
        self.traceparent = f"00-{trace_id}-{trace.format_span_id(context.span_id)}-{int(is_sampled):02x}"

    def note(self, **attributes: Attribute) -> None:
        self._span.set_attributes({f"parley.{name}": value for name, value in attributes.items()})

    def child(self, name: str, start_ns: int, end_ns: int) -> None:
        part = self._tracer.start_span(name, trace.set_span_in_context(self._span), start_time=start_ns)
        part.end(end_ns)

    def end(self, end_ns: int | None = None, *, reason: str = "") -> None:
        if reason:
            self.note(reason=reason)
            self._span.set_status(trace.StatusCode.ERROR, reason)
        self._span.end(end_ns)


class _QuietExporter(SpanExporter):
    """Says in one log line when a collector takes no spans, and when it does again; at most a line a minute."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._inner = exporter
        self._is_failing = False
        self._told_at_s = -_TELL_EVERY_S
        # The SDK would write a line for each try.
        for name in ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the SDK's thread."""
        result = self._inner.export(spans)
        is_failing = result is not SpanExportResult.SUCCESS
        now_s = time.monotonic()
        if is_failing != self._is_failing and now_s - self._told_at_s >= _TELL_EVERY_S:
            self._is_failing, self._told_at_s = is_failing, now_s
            if is_failing:
                _log.warning("traces.not_taken", span_count=len(spans))
            else:
                _log.info("traces.taken_again")
        return result

    def shutdown(self) -> None:
        """Break off what is being sent."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Called by nobody here."""
        return self._inner.force_flush(timeout_millis)


def _context(traceparent: str) -> Context:
    """The context that a W3C traceparent tells; an empty one where it is malformed."""
    if not is_traceparent(traceparent):
        return Context()
    return _propagator.extract({"traceparent": traceparent}, Context())


def _resource(default_service_name: str) -> Resource:
    told = Resource.create()
    defaults = {"service.version": importlib.metadata.version(default_service_name)}
    if not os.environ.get("OTEL_SERVICE_NAME") and str(told.attributes["service.name"]).startswith(
        "unknown_service"
    ):
        defaults["service.name"] = default_service_name
    return told.merge(Resource(defaults))
