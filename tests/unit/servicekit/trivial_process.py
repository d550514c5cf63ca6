"""A whole Parley process in thirty lines, started as a child by the tests of `process`.

Its service echoes bytes: `Once` one message, `Echo` a stream, `Wait` answers only when its peer half-closes.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from parley_servicekit.faults import Fault
from parley_servicekit.process import Lifecycle, run
from parley_servicekit.settings import Port, ProcessSettings, load_settings
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class Settings(ProcessSettings):
    model_config = SettingsConfigDict(env_prefix="PARLEY_ASR_")
    metrics_port: Port = 0
    warm_up_ms: int = Field(0, ge=0, description="How long loading the pretended model takes.")


async def once(request: bytes, _context: Any) -> bytes:
    if request == b"fault":
        raise Fault.caller("BAD_WORD", "that word is not allowed", field="word")
    return request


async def echo(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


HANDLERS: dict[str, Any] = {
    "Once": grpc.unary_unary_rpc_method_handler(once),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
}


@asynccontextmanager
async def start(lifecycle: Lifecycle) -> AsyncIterator[None]:
    await asyncio.sleep(settings.warm_up_ms / 1000)
    handler = grpc.method_handlers_generic_handler("parley.test.Echo", HANDLERS)
    lifecycle.server.add_generic_rpc_handlers((handler,))
    yield


if __name__ == "__main__":
    settings = load_settings(Settings)
    sys.exit(run(settings, start, service_names=["parley.test.Echo"]))
