"""A real Prometheus over the four processes with scripted engines; left out by name where there is none to be had."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.prometheus_server import NoPrometheusError, prometheus_program
from support.watched_stack import Watched, watched_stack


@pytest.fixture(scope="session")
def has_prometheus() -> None:
    """Leaves a test out, by name and with the reason, where no Prometheus can be had."""
    try:
        prometheus_program()
    except NoPrometheusError as error:
        if error.is_mistake:
            pytest.fail(str(error))
        pytest.skip(f"left out: {error}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def watched(has_prometheus: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    async with watched_stack(tmp_path_factory.mktemp("watched")) as watched:
        yield watched
