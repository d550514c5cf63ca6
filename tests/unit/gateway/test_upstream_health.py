"""Whether a service is up is what it says of itself, and no answer is an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from parley_gateway.adapters.upstream_health import is_serving, watch_upstreams
from parley_servicekit.grpc_client import open_channel

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health(health_pb2_grpc.HealthServicer):
    """Says what it is told to; None: never answers."""

    def __init__(self, status: Any) -> None:
        self.status = status

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:  # noqa: N802
        if self.status is None:
            await asyncio.Event().wait()
        return health_pb2.HealthCheckResponse(status=self.status)


@asynccontextmanager
async def serving(health: Health) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = open_channel(f"127.0.0.1:{port}")
    try:
        yield channel
    finally:
        await channel.close()
        await server.stop(0)


async def test_a_service_is_up_when_it_says_so() -> None:
    async with serving(Health(SERVING)) as channel:
        assert await is_serving(channel, 30)
    async with serving(Health(NOT_SERVING)) as channel:
        assert not await is_serving(channel, 30)


async def test_a_service_that_hangs_or_is_not_there_is_not_up() -> None:
    async with serving(Health(None)) as channel:
        assert not await is_serving(channel, 0.05)
    nobody = open_channel("127.0.0.1:1")
    assert not await is_serving(nobody, 30)
    await nobody.close()


async def test_all_are_looked_at_and_each_is_told_by_its_name() -> None:
    told: dict[str, bool] = {}
    both = asyncio.Event()

    def tell(name: str, is_up: bool) -> None:
        told[name] = is_up
        if len(told) == 2:
            both.set()

    async with (
        serving(Health(SERVING)) as up,
        serving(Health(NOT_SERVING)) as down,
        asyncio.timeout(30),
        asyncio.TaskGroup() as tasks,
    ):
        looking = tasks.create_task(watch_upstreams({"asr": up, "llm": down}, tell), name="look")
        await both.wait()
        looking.cancel()
    assert told == {"asr": True, "llm": False}
