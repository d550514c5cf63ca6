"""An OTLP collector in this process: takes spans over gRPC, remembers them, and misbehaves when told to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc.aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

_PATIENCE_S = 20.0


@dataclass(frozen=True)
class CollectedSpan:
    """Ids are hex digits; the parent's is empty for a root. Times are nanoseconds since the epoch."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: list[str]
    is_error: bool
    status: str
    everything: str

    @property
    def length_ms(self) -> float:
        return (self.end_ns - self.start_ns) / 1e6


class TraceCollector(pb_grpc.TraceServiceServicer):
    """`refuses` and `hangs` take effect from the next export on."""

    def __init__(self) -> None:
        self.spans: list[CollectedSpan] = []
        self.export_count = 0
        self.refuses = False
        self.hangs = False
        self.address = ""
        self._changed = asyncio.Condition()

    async def Export(  # noqa: N802 - named by gRPC
        self, request: pb.ExportTraceServiceRequest, context: Any
    ) -> pb.ExportTraceServiceResponse:
        async with self._changed:
            self.export_count += 1
            self._changed.notify_all()
        if self.refuses:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        if self.hangs:
            await asyncio.sleep(3600)
        async with self._changed:
            for resource_spans in request.resource_spans:
                service = _attributes(resource_spans.resource.attributes)["service.name"]
                for scope_spans in resource_spans.scope_spans:
                    self.spans += [_collected(service, span) for span in scope_spans.spans]
            self._changed.notify_all()
        return pb.ExportTraceServiceResponse()

    def named(
        self, name: str, is_it: Callable[[CollectedSpan], bool] = lambda _: True
    ) -> list[CollectedSpan]:
        return [span for span in self.spans if span.name == name and is_it(span)]

    def trace(self, trace_id: str) -> list[CollectedSpan]:
        return [span for span in self.spans if span.trace_id == trace_id]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return when enough has come in."""
        try:
            async with asyncio.timeout(_PATIENCE_S), self._changed:
                await self._changed.wait_for(is_so)
        except TimeoutError:
            raise AssertionError(
                f"waited in vain; there were {[(s.service, s.name) for s in self.spans]}"
            ) from None


@asynccontextmanager
async def collecting() -> AsyncIterator[TraceCollector]:
    """A collector on a free port of this machine."""
    collector = TraceCollector()
    server = grpc.aio.server()
    pb_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)


def _collected(service: str, span: trace_pb2.Span) -> CollectedSpan:
    return CollectedSpan(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        links=[link.trace_id.hex() for link in span.links],
        is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        status=span.status.message,
        everything=str(span),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: common_pb2.AnyValue) -> Any:
    return getattr(value, str(value.WhichOneof("value")))
