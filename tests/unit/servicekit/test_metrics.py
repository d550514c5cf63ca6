"""The HTTP port: the three pages, nothing else, and bounds on whoever talks to it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, Counter

from parley_servicekit.faults import Fault
from parley_servicekit.metrics import serve_metrics


@dataclass
class Readiness:
    ready: bool = True


@dataclass
class Site:
    host: str
    port: int
    readiness: Readiness

    async def answer(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    async def get(self, path: str, method: str = "GET", headers: str = "") -> tuple[int, str, str]:
        answer = await self.answer(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        head, _, body = answer.decode().partition("\r\n\r\n")
        return int(head.split()[1]), head, body


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    registry = CollectorRegistry()
    Counter("parley_test_turns", "Turns.", registry=registry).inc(3)
    readiness = Readiness()
    async with serve_metrics("127.0.0.1", 0, lambda: readiness.ready, "PORT", registry) as address:
        host, _, port = address.rpartition(":")
        async with asyncio.timeout(30):
            yield Site(host, int(port), readiness)


async def test_metrics_are_prometheus_text_and_open_metrics_when_asked(site: Site) -> None:
    status, head, body = await site.get("/metrics")
    assert status == 200
    assert "text/plain" in head
    assert "parley_test_turns_total 3.0" in body
    _, head, body = await site.get("/metrics?x=1", headers="Accept: application/openmetrics-text\r\n")
    assert "application/openmetrics-text" in head
    assert body.endswith("# EOF\n")


async def test_readiness_follows_the_process_and_liveness_does_not(site: Site) -> None:
    assert (await site.get("/readyz"))[0] == 200
    site.readiness.ready = False
    assert (await site.get("/readyz"))[0] == 503
    assert (await site.get("/healthz"))[0] == 200


@pytest.mark.parametrize("path", ["/", "/metricsx", "/metrics/", "/../metrics", "*", "http://x/metrics"])
async def test_other_paths_are_not_found(site: Site, path: str) -> None:
    assert (await site.get(path))[0] == 404


async def test_head_has_no_body_and_other_methods_are_refused(site: Site) -> None:
    status, head, body = await site.get("/metrics", "HEAD")
    assert (status, body) == (200, "")
    assert "Content-Length: 0" not in head
    for method in ("POST", "DELETE", "CONNECT", "get"):
        status, head, _ = await site.get("/metrics", method)
        assert status == 405
        assert "Allow: GET, HEAD" in head


@pytest.mark.parametrize(
    "request_",
    [b"nonsense\r\n\r\n", b"GET /metrics\r\n\r\n", b"GET /metrics HTTP/2\r\n\r\n", b"\xff\x00\r\n\r\n"],
)
async def test_what_is_not_http_is_a_bad_request(site: Site, request_: bytes) -> None:
    assert (await site.answer(request_)).startswith(b"HTTP/1.1 400 ")


async def test_an_endless_header_is_refused(site: Site) -> None:
    assert (await site.answer(b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 20_000)).startswith(b"HTTP/1.1 431 ")


async def test_idle_connections_do_not_keep_others_out_for_good(site: Site) -> None:
    idle = [await asyncio.open_connection(site.host, site.port) for _ in range(32)]
    # The next is hung up on at once, without waiting for the time limit of the idle ones.
    assert await site.answer(b"") == b""
    for _reader, writer in idle:
        writer.close()
    while True:
        try:
            if (await site.get("/healthz"))[0] == 200:
                break
        except (IndexError, ConnectionError):
            continue


async def test_connections_end_with_the_server() -> None:
    async with serve_metrics("127.0.0.1", 0, lambda: True, "PORT", CollectorRegistry()) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET")
        with pytest.raises(Fault, match=f"port {port} on 127.0.0.1 is taken; set PARLEY_ASR_METRICS_PORT"):
            async with serve_metrics(host, int(port), lambda: True, "PARLEY_ASR_METRICS_PORT"):
                pass
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()
