"""The embedded stack in containers, up once for all tests; left out by name where there is no engine."""

import time
from collections.abc import Iterator

import pytest

from support.compose_stack import ComposeStack, compose_stack
from support.container_engine import NoEngineError, container_engine


@pytest.fixture(scope="session")
def engine_environment() -> Iterator[dict[str, str]]:
    """What leads `docker` to an engine."""
    try:
        with container_engine() as environment:
            yield environment
    except NoEngineError as error:
        if error.is_mistake:
            pytest.fail(str(error))
        pytest.skip(f"left out: {error}")


@pytest.fixture(scope="session")
def stack(
    engine_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[ComposeStack]:
    """Images built, all containers healthy. What that took is printed."""
    with compose_stack(engine_environment, tmp_path_factory.mktemp("compose")) as stack:
        began_s = time.monotonic()
        stack.compose("build", "--quiet")
        built_s = time.monotonic()
        stack.compose("up", "--wait", "--no-build")
        up_s = time.monotonic()
        capture = pytestconfig.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"\nimages {built_s - began_s:.1f} s, up and healthy {up_s - built_s:.1f} s")
        yield stack
