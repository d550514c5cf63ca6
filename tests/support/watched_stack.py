"""The four processes with scripted engines, and a real Prometheus that scrapes them. For integration tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from support.prometheus_server import PrometheusServer
from support.scripted_stack import scripted_stack
from support.stack import Stack

# Spans go nowhere: nothing listens on port 9. With them turns have trace ids, and latencies have exemplars.
_TRACED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@dataclass
class Watched:
    """The four processes and the Prometheus that scrapes them."""

    stack: Stack
    prometheus: PrometheusServer


@asynccontextmanager
async def watched_stack(folder: Path) -> AsyncIterator[Watched]:
    """All ready; ended with the block. Raises NoPrometheusError."""
    home, scraped = folder / "parley", folder / "prometheus"
    home.mkdir()
    scraped.mkdir()
    async with scripted_stack(home, _TRACED) as stack:
        targets = {
            name: url.removeprefix("http://").removesuffix("/metrics") for name, url in stack.metrics.items()
        }
        prometheus = PrometheusServer(scraped, targets)
        await asyncio.to_thread(prometheus.start)
        try:
            yield Watched(stack, prometheus)
        finally:
            await asyncio.to_thread(prometheus.stop)
