"""`Fault` to `google.rpc.Status` and back, and the interceptor that does it for every RPC of a server.

Used by `grpc_server` and `process`, by gateway adapters and by the client SDK.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Never

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from parley_servicekit.faults import Fault, FaultCode, fault_in, is_reason
from parley_servicekit.grpc_first_write import FirstWriteKept
from parley_servicekit.grpc_handlers import Behaviour, refusing_handler, wrap_handler
from parley_servicekit.logs import get_logger

_STATUS_KEY = "grpc-status-details-bin"
_log = get_logger()


def status_from_fault(fault: Fault, domain: str) -> status_pb2.Status:
    """google.rpc.Status with exactly one ErrorInfo; `domain` fills in for a fault that names none."""
    status = status_pb2.Status(code=fault.code.value, message=fault.message)
    info = error_details_pb2.ErrorInfo(
        reason=fault.reason, domain=fault.domain or domain, metadata=fault.metadata
    )
    status.details.add().Pack(info)
    if fault.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=fault.field, description=fault.message)
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if fault.retry_after_ms is not None:
        delay = Duration()
        delay.FromMilliseconds(fault.retry_after_ms)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def fault_from_status(status: status_pb2.Status) -> Fault:
    """The fault that a google.rpc.Status tells of; malformed details are left out, never raised."""
    code = _fault_code(status.code)
    info, field, retry_after_ms = _read_details(status)
    if info is None or not is_reason(info.reason):
        # Only a status with our ErrorInfo is known to carry a message that is safe to show.
        return Fault(code.name, _plain_message(code), code=code, retry_after_ms=retry_after_ms)
    try:
        return Fault(
            info.reason,
            status.message,
            code=code,
            retry_after_ms=retry_after_ms,
            field=field,
            metadata=dict(info.metadata),
            domain=info.domain,
        )
    except ValueError:
        return Fault(info.reason, status.message, code=code, domain=info.domain)


def fault_from_rpc_error(error: grpc.aio.AioRpcError) -> Fault:
    """The fault behind a failed call; for errors of gRPC itself the reason is the code's name.

    Write `raise fault_from_rpc_error(error) from error`, which keeps gRPC's own wording for the log.
    """
    number: int = error.code().value[0]
    for key, value in error.trailing_metadata() or ():
        if key == _STATUS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                break
            if status.code == number:
                return fault_from_status(status)
    code = _fault_code(number)
    return Fault(code.name, _plain_message(code), code=code)


async def abort_with(context: Any, fault: Fault, domain: str) -> Never:
    """End the RPC of a grpc.aio `context` with `fault`."""
    status = rpc_status.to_status(status_from_fault(fault, domain))
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort returned")


class FaultInterceptor(grpc.aio.ServerInterceptor):
    """Turns a Fault of any servicer into its status, and anything unexpected into INTERNAL, logged once."""

    def __init__(self, domain: str, told: Callable[[str], None] = lambda _reason: None) -> None:
        """domain: of the process, such as `asr.parley`. told: called with the reason of every fault that is told."""
        self._domain = domain
        self._told = told

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Called by grpc.aio for each RPC."""
        try:
            handler = await continuation(handler_call_details)
        except Fault as fault:  # an inner interceptor refuses
            return refusing_handler(partial(self._tell, fault=fault))
        if handler is None:
            return None
        guard = self._guard_stream if handler.response_streaming else self._guard
        return wrap_handler(handler, partial(guard, handler_call_details.method))

    def _guard(self, method: str, behaviour: Behaviour) -> Behaviour:
        async def guarded(request: Any, context: Any) -> Any:
            try:
                return await behaviour(request, context)
            except Exception as error:
                await self._abort(context, method, error)

        return guarded

    def _guard_stream(self, method: str, behaviour: Behaviour) -> Behaviour:
        async def guarded(request: Any, context: Any) -> None:
            failure: Exception | None = None
            async with asyncio.TaskGroup() as tasks:
                try:
                    await behaviour(request, FirstWriteKept(context, tasks))
                except Exception as error:
                    failure = error  # kept back, because the group would cancel the first write
            if failure is not None:
                await self._abort(context, method, failure)

        return guarded

    async def _abort(self, context: Any, method: str, error: Exception) -> Never:
        if isinstance(error, grpc.aio.AbortError):  # the servicer has done it itself
            raise error
        fault = fault_in(error)
        if fault is None:
            _log.error("rpc.failed_unexpectedly", method=method, exc_info=error)
            fault = Fault.internal()
        elif fault.code is FaultCode.INTERNAL:
            _log.error("rpc.failed", method=method, reason=fault.reason, exc_info=error)
        await self._tell(context, fault)

    async def _tell(self, context: Any, fault: Fault) -> Never:
        if fault.code is not FaultCode.CANCELLED:  # the caller went away: that is no error
            self._told(fault.reason)
        await abort_with(context, fault, self._domain)


def _read_details(
    status: status_pb2.Status,
) -> tuple[error_details_pb2.ErrorInfo | None, str | None, int | None]:
    """The first ErrorInfo, violated field and retry delay in ms, each None if absent or malformed."""
    info: error_details_pb2.ErrorInfo | None = None
    field: str | None = None
    retry_after_ms: int | None = None
    for detail in status.details:
        try:
            if info is None and detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
            elif field is None and detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                violations = error_details_pb2.BadRequest.FromString(detail.value).field_violations
                field = violations[0].field if violations else None
            elif retry_after_ms is None and detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry_after_ms = max(
                    0, error_details_pb2.RetryInfo.FromString(detail.value).retry_delay.ToMilliseconds()
                )
        except DecodeError:
            continue
    return info, field, retry_after_ms


def _fault_code(number: int) -> FaultCode:
    try:
        return FaultCode(number)
    except ValueError:
        return FaultCode.UNKNOWN


def _plain_message(code: FaultCode) -> str:
    return f"the call failed: {code.name.lower().replace('_', ' ')}"
