"""The HTTP port of a process: `/metrics` for Prometheus, `/healthz` (alive) and `/readyz` (serving).

`process` starts it. Written on asyncio streams rather than a web framework because what it needs are limits:
one request a connection, 8 KiB of header, 5 s, 32 connections. Processes declare metrics in their own
`metrics.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from parley_servicekit.grpc_server import bind_problem, join_address

_HEAD_MAX_BYTES = 8192
_REQUEST_TIMEOUT_S = 5.0
_CONNECTION_MAX_COUNT = 32
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


class _Endpoint:
    def __init__(self, is_ready: Callable[[], bool], registry: CollectorRegistry) -> None:
        self._is_ready = is_ready
        self._registry = registry
        self._writers: set[asyncio.StreamWriter] = set()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request, one response, close."""
        if len(self._writers) >= _CONNECTION_MAX_COUNT:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                writer.write(await self._respond(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            self._writers.discard(writer)

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
            encode, content_type = choose_encoder(accept)
            # In a thread: thousands of series take longer to write down than the loop may be blocked.
            body = await asyncio.to_thread(encode, self._registry)
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
