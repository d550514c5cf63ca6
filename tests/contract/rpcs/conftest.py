"""The same servicer behind a plain channel and behind a link."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from parley_servicekit.grpc_client import open_channel
from support.talk_service import Talk, linked, serving


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture(params=["plain", "link"])
async def channel(request: pytest.FixtureRequest, talk: Talk) -> AsyncIterator[Any]:
    async with serving(talk) as address:
        plain = open_channel(address)
        try:
            if request.param == "plain":
                yield plain
            else:
                async with linked(plain) as links:
                    yield links
        finally:
            await plain.close()
