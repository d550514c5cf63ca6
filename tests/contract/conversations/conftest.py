"""Every kind of conversation store, and Redis servers that tests may freeze and kill."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.conversation_backends import KINDS, Backend
from support.redis_server import NoRedisError, RedisServer


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = started_redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may freeze and kill."""
    server = started_redis(tmp_path / "redis")
    yield server
    server.kill()


def started_redis(folder: Path) -> RedisServer:
    try:
        server = RedisServer(folder)
        server.start()
    except NoRedisError as error:
        if error.is_platform_gap:
            pytest.skip(f"left out: {error}")
        pytest.fail(str(error))
    return server


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    url = request.getfixturevalue("shared_redis").url if request.param.endswith("redis") else ""
    return Backend(request.param, tmp_path, url)


@pytest.fixture
def owner() -> str:
    """A name of nobody else: tests share one Redis."""
    return f"key {uuid.uuid4().hex}"
