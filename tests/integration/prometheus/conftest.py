"""A real Prometheus over the four processes with scripted engines; left out by name where there is none to be had."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from support.prometheus_server import NoPrometheusError, PrometheusServer, prometheus_program
from support.scripted_stack import scripted_stack
from support.stack import Stack


@dataclass
class Watched:
    """The four processes and the Prometheus that scrapes them."""

    stack: Stack
    prometheus: PrometheusServer


@pytest.fixture(scope="session")
def has_prometheus() -> None:
    """Leaves a test out, by name and with the reason, where no Prometheus can be had."""
    try:
        prometheus_program()
    except NoPrometheusError as error:
        if error.is_mistake:
            pytest.fail(str(error))
        pytest.skip(f"left out: {error}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def watched(has_prometheus: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    """Scraped for the first time before any test begins."""
    # Spans go nowhere: nothing listens on port 9. With them turns have trace ids, and latencies have exemplars.
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    async with scripted_stack(tmp_path_factory.mktemp("watched"), environment) as stack:
        targets = {
            name: url.removeprefix("http://").removesuffix("/metrics") for name, url in stack.metrics.items()
        }
        prometheus = PrometheusServer(tmp_path_factory.mktemp("prometheus"), targets)
        await asyncio.to_thread(prometheus.start)
        try:
            yield Watched(stack, prometheus)
        finally:
            await asyncio.to_thread(prometheus.stop)
