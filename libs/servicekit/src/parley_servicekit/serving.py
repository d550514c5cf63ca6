"""`Serving`: which services of a process answer at the moment, told to gRPC health and /readyz.

`process` owns it; engines and adapters flip the services they stand for (`await serving.set(name, False)`).
"""

from collections.abc import Sequence

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health


class Serving:
    """The process serves from `open` to `close`, and as a whole while at least one of its services does."""

    def __init__(self, service_names: Sequence[str]) -> None:
        """service_names: full gRPC names (`parley.asr.v1.RecognitionService`)."""
        self._able = dict.fromkeys(service_names, True)
        self._open = False
        self._health = health.HealthServicer()

    async def register(self, server: grpc.aio.Server) -> None:
        """Add grpc.health.v1.Health to `server`, everything NOT_SERVING."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        await self._publish()

    async def set(self, service_name: str, able: bool) -> None:
        """Say whether a service can do its work, such as when what it depends on goes away or comes back."""
        if service_name not in self._able:
            raise ValueError(f"{service_name} is not one of {', '.join(self._able)}")
        if self._able[service_name] != able:
            self._able[service_name] = able
            await self._publish()

    async def open(self) -> None:
        """Warmed up: serve."""
        self._open = True
        await self._publish()

    async def close(self) -> None:
        """Draining: NOT_SERVING from now on, whatever engines say."""
        self._open = False
        await self._publish()

    def is_ready(self) -> bool:
        """What /readyz and the overall health tell."""
        return self._open and (any(self._able.values()) or not self._able)

    async def _publish(self) -> None:
        await self._health.set("", _status(self.is_ready()))
        for name, able in self._able.items():
            await self._health.set(name, _status(self._open and able))


def _status(serving: bool) -> int:
    """The number of SERVING or NOT_SERVING."""
    response = health_pb2.HealthCheckResponse
    return int(response.SERVING if serving else response.NOT_SERVING)
