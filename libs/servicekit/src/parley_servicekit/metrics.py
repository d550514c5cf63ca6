"""The HTTP port of a process: `/metrics` for Prometheus, `/healthz` (alive) and `/readyz` (serving).

`process` starts it. Written on asyncio streams rather than a web framework because what it needs are limits, so that
nothing that is done to this port is felt in a conversation: one request a connection, 8 KiB of header, 5 s,
32 connections, of which the oldest makes room for the next, and ten pages of metrics a second, however many are asked
for. Processes declare metrics in their own `metrics.py`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, REGISTRY, CollectorRegistry
from prometheus_client import generate_latest as written_as_text
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPEN_METRICS
from prometheus_client.openmetrics.exposition import generate_latest as written_as_open_metrics

from parley_servicekit.grpc_server import bind_problem, join_address

_HEAD_MAX_BYTES = 8192
_REQUEST_TIMEOUT_S = 5.0
_CONNECTION_MAX_COUNT = 32
# Writing a page down takes milliseconds in which the event loop may have to wait for the interpreter.
_PAGE_KEPT_S = 0.1
_TEXT = "text/plain; charset=utf-8"


@asynccontextmanager
async def serve_metrics(
    host: str,
    port: int,
    is_ready: Callable[[], bool],
    port_variable: str,
    registry: CollectorRegistry = REGISTRY,
) -> AsyncIterator[str]:
    """Serve on `host:port` (0: a free one) while the context lasts; gives the real `host:port`.

    Raises Fault (FAILED_PRECONDITION), naming `port_variable`, when the address cannot be had.
    """
    if (problem := bind_problem(host, port, port_variable)) is not None:
        raise problem
    endpoint = _Endpoint(is_ready, registry)
    server = await asyncio.start_server(endpoint.converse, host.strip("[]"), port, limit=_HEAD_MAX_BYTES)
    try:
        yield join_address(host, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        endpoint.hang_up()


class _MetricsPage:
    """All metrics as one page in one format. Whoever asks gets it no older than 0.1 s before they asked."""

    def __init__(self, write_down: Callable[[CollectorRegistry], bytes], registry: CollectorRegistry) -> None:
        self._write_down = write_down
        self._registry = registry
        self._turn = asyncio.Lock()
        self._body = b""
        self._written_at_s = float("-inf")

    async def body(self) -> bytes:
        asked_at_s = time.monotonic()
        async with self._turn:
            if self._written_at_s < asked_at_s - _PAGE_KEPT_S:
                began_at_s = time.monotonic()
                # In a thread: thousands of series take longer to write down than the loop may be blocked.
                self._body = await asyncio.to_thread(self._write_down, self._registry)
                self._written_at_s = began_at_s
            return self._body


class _Endpoint:
    def __init__(self, is_ready: Callable[[], bool], registry: CollectorRegistry) -> None:
        self._is_ready = is_ready
        self._text = _MetricsPage(written_as_text, registry)
        self._open_metrics = _MetricsPage(written_as_open_metrics, registry)
        self._writers: dict[asyncio.StreamWriter, None] = {}  # oldest first

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request, one response, close."""
        if len(self._writers) >= _CONNECTION_MAX_COUNT:
            # Whoever sits on connections must not keep a scrape or a probe out.
            oldest = next(iter(self._writers))
            del self._writers[oldest]
            oldest.transport.abort()
        self._writers[writer] = None
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                answer = await self._respond(reader)
                if writer.transport.is_closing():
                    return  # gone, or made room for another; uvloop takes a write into it for an error of ours
                writer.write(answer)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            self._writers.pop(writer, None)

    async def _respond(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(431, "Request Header Fields Too Large", b"header too large\n")
        request_line, *header_lines = head.decode("latin-1").split("\r\n")
        words = request_line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response(400, "Bad Request", b"bad request\n")
        method, path = words[0], words[1].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _response(405, "Method Not Allowed", b"GET or HEAD\n", extra="Allow: GET, HEAD\r\n")
        return await self._page(path, _header(header_lines, "accept"), with_body=method == "GET")

    async def _page(self, path: str, accept: str, *, with_body: bool) -> bytes:
        if path == "/metrics":
            # Only OpenMetrics carries exemplars. Nothing of what was asked for is given back.
            is_open = "application/openmetrics-text" in accept
            body = await (self._open_metrics if is_open else self._text).body()
            content_type = CONTENT_TYPE_OPEN_METRICS if is_open else CONTENT_TYPE_PLAIN_0_0_4
            return _response(200, "OK", body, content_type=content_type, with_body=with_body)
        if path == "/healthz":
            return _response(200, "OK", b"alive\n", with_body=with_body)
        if path == "/readyz":
            if self._is_ready():
                return _response(200, "OK", b"ready\n", with_body=with_body)
            return _response(503, "Service Unavailable", b"not ready\n", with_body=with_body)
        return _response(404, "Not Found", b"not found\n", with_body=with_body)


def _header(lines: list[str], name: str) -> str:
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return ""


def _response(
    status: int,
    phrase: str,
    body: bytes,
    *,
    content_type: str = _TEXT,
    extra: str = "",
    with_body: bool = True,
) -> bytes:
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n{extra}\r\n"
    )
    return head.encode("ascii") + (body if with_body else b"")
