"""Traces: spans of a turn across the processes, off unless the standard OTLP variables name a collector.

`process.run` opens them and hands them out as `Lifecycle.traces`; sessions and servicers record through the protocols
here. `trace_export` alone knows OpenTelemetry's SDK, and is imported only where traces are on. What people said is no
attribute: ids, outcomes, names of our models and milliseconds are.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol

from parley_servicekit.logs import bound_ids, get_logger
from parley_servicekit.outcomes import RequestOutcome, ended_by

_log = get_logger()
_KEY = "traceparent"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# Version 00 of W3C Trace Context. Later versions may be longer, and nobody sends them.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
Attribute = str | int | float | bool


class Span(Protocol):
    """Something that takes time. `end` it once; what comes after that changes nothing."""

    @property
    def trace_id(self) -> str | None:
        """32 hex digits; None when traces are off or this one is not sampled."""

    @property
    def traceparent(self) -> str:
        """Its W3C trace context, for those whose work is part of it; empty when traces are off."""

    def note(self, **attributes: Attribute) -> None:
        """Add attributes; the names get the prefix `parley.`."""

    def child(self, name: str, start_ns: int, end_ns: int) -> None:
        """Record a part of it that is over. Times are nanoseconds since the epoch."""

    def end(self, end_ns: int | None = None, *, reason: str = "") -> None:
        """It is over, now or at `end_ns`. reason: of the fault it failed with; empty when it did not fail."""


class Traces(Protocol):
    """Where spans begin."""

    @property
    def is_on(self) -> bool:
        """False: every span is nothing, and what only serves spans need not be done."""

    def start(
        self,
        name: str,
        *,
        parent: str = "",
        link: str = "",
        start_ns: int | None = None,
        is_server: bool = False,
    ) -> Span:
        """A span that began now or at `start_ns` (nanoseconds since the epoch).

        parent and link are W3C traceparents from anywhere; malformed ones count as none. Without a parent it is the
        root of a new trace.
        """

    def close(self) -> None:
        """Send what is left, for at most about a second."""


class _NoSpan:
    trace_id = None
    traceparent = ""

    def note(self, **_attributes: Attribute) -> None:
        pass

    def child(self, *_of: Any) -> None:
        pass

    def end(self, *_of: Any, **_options: Any) -> None:
        pass


class _NoTraces:
    is_on = False

    def start(self, *_of: Any, **_options: Any) -> Span:
        return NO_SPAN

    def close(self) -> None:
        pass


NO_SPAN: Span = _NoSpan()
NO_TRACES: Traces = _NoTraces()
_current: ContextVar[Span] = ContextVar("parley_span", default=NO_SPAN)
_NOWHERE: AbstractContextManager[None] = nullcontext()


def open_traces(process: str, environ: Mapping[str, str] = os.environ) -> Traces:
    """The traces of a process (`asr`) as the standard OTEL_* variables say. What they have wrong turns traces off."""
    if not is_wanted(environ):
        return NO_TRACES
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "grpc")
    if protocol != "grpc":
        _log.error("traces.off", problem="only the protocol grpc is spoken", protocol=protocol[:32])
        return NO_TRACES
    from parley_servicekit.trace_export import ExportedTraces  # noqa: PLC0415 - half a second, and memory

    try:
        return ExportedTraces(f"parley-{process}")
    except Exception as error:  # a bad OTEL_* variable must not keep people from talking
        _log.error("traces.off", problem="an OTEL_* variable cannot be used", exc_info=error)
        return NO_TRACES


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether a collector is named and nothing else says no."""
    is_named = any(environ.get(name, "").strip() for name in _ENDPOINTS)
    is_disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporters = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    return is_named and not is_disabled and "otlp" in exporters.split(",")


def within(span: Span) -> AbstractContextManager[None]:
    """Outgoing calls and log lines of the block, and of the tasks it starts, belong to `span`."""
    return _within(span) if span.traceparent else _NOWHERE


@contextmanager
def _within(span: Span) -> Iterator[None]:
    token = _current.set(span)
    try:
        if span.trace_id is None:
            yield
        else:
            with bound_ids(trace_id=span.trace_id):
                yield
    finally:
        _current.reset(token)


def call_metadata() -> tuple[tuple[str, str], ...] | None:
    """Metadata for an outgoing gRPC call, so that it belongs to the span that this task is within."""
    traceparent = _current.get().traceparent
    return ((_KEY, traceparent),) if traceparent else None


def traceparent_of(context: Any) -> str:
    """The caller's traceparent out of a servicer's context; empty when there is not exactly one well-formed one."""
    found = [value for key, value in context.invocation_metadata() or () if key == _KEY]
    return found[0] if len(found) == 1 and is_traceparent(found[0]) else ""


def is_traceparent(value: object) -> bool:
    """Whether somebody's W3C traceparent is well-formed."""
    return isinstance(value, str) and _TRACEPARENT.fullmatch(value) is not None


@contextmanager
def serving(traces: Traces, name: str, context: Any) -> Iterator[Span]:
    """The span of one RPC in its servicer, part of the caller's trace; notes how it ended: `outcome`, `reason`."""
    if not traces.is_on:
        yield NO_SPAN
        return
    span = traces.start(name, parent=traceparent_of(context), is_server=True)
    failure: BaseException | None = None
    try:
        with within(span):
            yield span
    except BaseException as error:
        failure = error
        raise
    finally:
        outcome, reason = ended_by(failure)
        span.note(outcome=outcome.value)
        span.end(reason="" if outcome is RequestOutcome.CANCELLED else reason)
