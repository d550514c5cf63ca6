"""One stack with scripted engines for all tests of the command."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from integration.cli.command import NOWHERE, Run, runner

from support.scripted_stack import scripted_stack
from support.stack import Stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scripted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with scripted_stack(tmp_path_factory.mktemp("scripted")) as stack:
        yield stack


@pytest.fixture
def parley(scripted: Stack, tmp_path: Path) -> Run:
    return runner(scripted.gateway, tmp_path)


@pytest.fixture
def parley_alone(tmp_path: Path) -> Run:
    """Where no gateway answers."""
    return runner(NOWHERE, tmp_path)
