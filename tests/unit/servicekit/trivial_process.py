"""A whole Parley process in a page, started as a child by the tests of `process`. It echoes bytes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from parley_servicekit.faults import Fault
from parley_servicekit.logs import get_logger
from parley_servicekit.process import Lifecycle, run
from parley_servicekit.serving import Serving
from parley_servicekit.settings import ProcessSettings, load_settings

SERVICE = "parley.test.Echo"


class Settings(ProcessSettings):
    model_config = SettingsConfigDict(env_prefix="PARLEY_ASR_")
    warm_up_ms: int = Field(default=0, ge=0, description="How long the pretended model takes to load.")
    warm_up_failure: str = Field(default="", description="Fail to load, with this message.")


class EchoServicer:
    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def once(self, request: bytes, _context: Any) -> bytes:
        if request == b"fault":
            raise Fault.caller("BAD_WORD", "that word is not allowed", field="word")
        if request in (b"go away", b"come back"):
            await self._serving.set(SERVICE, request == b"come back")
        return request

    async def echo(self, requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        try:
            async for request in requests:
                yield request
        finally:
            get_logger().info("echo.closed")


@asynccontextmanager
async def start(lifecycle: Lifecycle) -> AsyncIterator[None]:
    await asyncio.sleep(settings.warm_up_ms / 1000)
    if settings.warm_up_failure:
        raise RuntimeError(settings.warm_up_failure)
    servicer = EchoServicer(lifecycle.serving)
    methods: dict[str, Any] = {
        "Once": grpc.unary_unary_rpc_method_handler(servicer.once),
        "Echo": grpc.stream_stream_rpc_method_handler(servicer.echo),
    }
    lifecycle.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    yield


if __name__ == "__main__":
    settings = load_settings(Settings)
    sys.exit(run(settings, start, service_names=[SERVICE], rpc_max_count=3))
