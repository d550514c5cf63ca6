"""Calls to the three services: reading a bidirectional call, and faults of a service that cannot be reached.

Used by the adapters and by the proxied services.
"""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.grpc_faults import fault_from_rpc_error

# Session streams live as long as the session; everything shorter has a deadline of its own.
STREAM_DEADLINE_S = 24 * 3600.0


def service_fault(service: str, error: grpc.aio.AioRpcError) -> Fault:
    """The fault of a call to `service` (asr, llm, tts); one that gRPC itself reports gets the service's name."""
    fault = fault_from_rpc_error(error)
    if fault.reason == fault.code.name:
        if fault.code is FaultCode.UNAVAILABLE:
            return Fault.unavailable(
                f"{service.upper()}_UNAVAILABLE", f"the {service} service cannot be reached"
            )
        return Fault(
            f"{service.upper()}_FAILED", f"the {service} service failed", code=fault.code, domain=fault.domain
        )
    return fault


async def writing(service: str, call: Any, write: Awaitable[None]) -> None:
    """Await one write or half-close of `call`; a call that is over raises its fault."""
    try:
        await write
    except grpc.aio.AioRpcError as error:
        raise service_fault(service, error) from error
    except grpc.aio.UsageError:
        raise
    except Exception as error:
        if call.done():
            raise await _fault_of(service, call) from error
        raise


async def first_response(service: str, call: Any) -> Any:
    """The first response of `call`; a call that ends without one raises its fault."""
    async with aclosing(responses(service, call)) as first:
        async for response in first:
            return response
    raise await _fault_of(service, call)


async def responses(service: str, call: Any) -> AsyncGenerator[Any, None]:
    """Responses of `call` until it ends well; raises the fault it ended with."""
    try:
        while (response := await call.read()) is not grpc.aio.EOF:
            yield response
    except grpc.aio.AioRpcError as error:
        raise service_fault(service, error) from error
    if await call.code() is not grpc.StatusCode.OK:
        raise await _fault_of(service, call)


async def _fault_of(service: str, call: Any) -> Fault:
    code = await call.code()
    error = grpc.aio.AioRpcError(
        code, await call.initial_metadata(), await call.trailing_metadata(), await call.details()
    )
    if code is grpc.StatusCode.OK:
        return Fault.unavailable(f"{service.upper()}_STREAM_ENDED", f"the {service} service ended the stream")
    return service_fault(service, error)
