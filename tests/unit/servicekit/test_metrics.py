"""The HTTP port: the three pages, nothing else, and bounds on whoever talks to it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from parley_servicekit.faults import Fault
from parley_servicekit.metrics import serve_metrics


@dataclass
class Readiness:
    ready: bool = True


@dataclass(eq=False)
class Pages(Collector):
    """Counts how often, and how many at once, all metrics are written down."""

    count: int = 0
    most_at_once: int = 0
    _running_count: int = 0

    def collect(self) -> Iterator[Metric]:
        self.count += 1
        self._running_count += 1
        self.most_at_once = max(self.most_at_once, self._running_count)
        yield Metric("parley_test_pages", "Pages.", "gauge")
        self._running_count -= 1


@dataclass
class Site:
    host: str
    port: int
    readiness: Readiness
    registry: CollectorRegistry
    pages: Pages

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
    registry, pages = CollectorRegistry(), Pages()
    registry.register(pages)
    Counter("parley_test_turns_total", "Turns.", registry=registry).inc(3)
    stages = Histogram("parley_test_stage_seconds", "Stages.", registry=registry)
    stages.observe(0.05, {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
    readiness = Readiness()
    async with serve_metrics("127.0.0.1", 0, lambda: readiness.ready, "PORT", registry) as address:
        host, _, port = address.rpartition(":")
        async with asyncio.timeout(30):
            yield Site(host, int(port), readiness, registry, pages)


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


async def test_an_exemplar_is_shown_where_the_format_has_a_place_for_it(site: Site) -> None:
    _, _, body = await site.get("/metrics", headers="Accept: application/openmetrics-text; version=1.0.0\r\n")
    assert ' # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.05' in body
    assert "4bf92f" not in (await site.get("/metrics"))[2]


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=9é; escaping=nonsense",
        "application/openmetrics-text; version=not-a-version",
        "application/openmetrics-text;" + ";=" * 2000,
        "text/plain; version=" + "9." * 1000,
        "text/plain; version=1.0.0; escaping=\x00\x01",
        "*/*;q=nan,,,;;;",
    ],
)
async def test_whatever_is_accepted_gets_a_page_and_nothing_of_it_comes_back(site: Site, accept: str) -> None:
    answer = await site.answer(f"GET /metrics HTTP/1.1\r\nAccept: {accept}\r\n\r\n".encode("latin-1"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"parley_test_turns_total 3.0" in body
    for piece in (b"nonsense", b"not-a", b";=", b"9.9", b"nan", b"\x00"):
        assert piece not in head


async def test_idle_connections_make_room_for_a_scrape(site: Site) -> None:
    idle = [await asyncio.open_connection(site.host, site.port) for _ in range(40)]
    assert (await site.get("/metrics"))[0] == 200
    # Of 41 connections 32 may be open: the oldest were hung up on, nobody who came later was.
    for reader, _writer in idle[:8]:
        assert await ended(reader)
    assert not idle[-1][0].at_eof()
    for _reader, writer in idle:
        writer.close()


async def test_readers_that_read_nothing_do_not_keep_a_scrape_out(site: Site) -> None:
    # Far more than a socket takes at once.
    Counter("parley_test_long_total", "x" * 20_000_000, registry=site.registry)
    slow = [await asyncio.open_connection(site.host, site.port, limit=1) for _ in range(3)]
    for _reader, writer in slow:
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert (await site.get("/healthz"))[0] == 200
    _, _, body = await site.get("/metrics")
    assert "parley_test_long_total 0.0" in body
    for _reader, writer in slow:
        writer.transport.abort()


async def test_many_scrapes_at_once_are_all_answered_with_few_pages(site: Site) -> None:
    """As many as there are connections, again and again; pages are written down one at a time."""
    statuses: list[int] = []

    async def scrape() -> None:
        for _ in range(20):
            statuses.append((await site.get("/metrics"))[0])

    async with asyncio.TaskGroup() as tasks:
        for index in range(25):
            tasks.create_task(scrape(), name=f"scrape.{index}")
    assert statuses == [200] * 500
    assert site.pages.most_at_once == 1
    assert site.pages.count < 500


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


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


def test_who_has_to_make_room_while_the_page_is_written_is_no_error() -> None:
    """Over uvloop, which raises where asyncio drops the write."""
    registry = CollectorRegistry()
    series = Counter("parley_test_many", "Enough to take a while.", ["index"], registry=registry)
    for index in range(20_000):
        series.labels(str(index)).inc()
    problems: list[dict[str, Any]] = []

    async def ask_all_at_once() -> list[bytes]:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, problem: problems.append(problem))
        async with serve_metrics("127.0.0.1", 0, lambda: True, "PORT", registry) as address:
            host, _, port = address.rpartition(":")
            readers = []
            for _ in range(100):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
                readers.append((reader, writer))
            answers = [await _rest(reader) for reader, _ in readers]
            for _, writer in readers:
                writer.close()
            return answers

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answers = runner.run(ask_all_at_once())
    assert problems == []
    assert any(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert b"" in answers


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""
