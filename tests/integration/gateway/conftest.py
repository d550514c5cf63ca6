"""One stack with scripted engines for all tests that do no harm to it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.scripted_stack import scripted_stack
from support.stack import Stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scripted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with scripted_stack(tmp_path_factory.mktemp("scripted")) as stack:
        yield stack
