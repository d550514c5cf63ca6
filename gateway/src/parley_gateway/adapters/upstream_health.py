"""Looks again and again whether the three services can be used, for the metrics. Run by `bootstrap` as tasks."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from parley_servicekit.logs import get_logger

# A health check every two seconds costs nothing, and unlike a watch it also notices a service that hangs.
_EVERY_S = 2.0
_TIMEOUT_S = 1.0
_log = get_logger()


async def watch_upstreams(
    channels: Mapping[str, grpc.aio.Channel], tell: Callable[[str, bool], None]
) -> None:
    """Never returns. tell: called with a service's name and whether it is up, after every look."""
    async with asyncio.TaskGroup() as tasks:
        for name, channel in channels.items():
            tasks.create_task(_watch(name, channel, tell), name=f"upstream.{name}")


async def _watch(name: str, channel: grpc.aio.Channel, tell: Callable[[str, bool], None]) -> None:
    was_up = True
    while True:
        is_up = await is_serving(channel)
        tell(name, is_up)
        if is_up != was_up:
            _log.info("upstream.changed", service=name, is_up=is_up)
        was_up = is_up
        await asyncio.sleep(_EVERY_S)


async def is_serving(channel: grpc.aio.Channel, timeout_s: float = _TIMEOUT_S) -> bool:
    """Whether the server at the other end says within `timeout_s` that it serves."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        health = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
    except grpc.aio.AioRpcError:
        return False
    return bool(health.status == health_pb2.HealthCheckResponse.SERVING)
