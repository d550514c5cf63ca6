"""How a request ended, in the words that the metrics and logs of all three services use."""

import asyncio
from enum import StrEnum

from parley_servicekit.faults import FaultCode, fault_in

_REFUSALS = frozenset({FaultCode.INVALID_ARGUMENT, FaultCode.NOT_FOUND, FaultCode.RESOURCE_EXHAUSTED})


class RequestOutcome(StrEnum):
    """One for every request."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    """The caller went away or did not want it any more, such as at a barge-in. Not an error."""
    REFUSED = "refused"
    """It was wrong in itself, or there was no room."""
    FAILED = "failed"
    """We, or what we depend on, could not do it."""


def ended_by(error: BaseException | None) -> tuple[RequestOutcome, str]:
    """The outcome of a request that ended with `error` (None: well), and the fault's reason or ""."""
    if error is None:
        return RequestOutcome.COMPLETED, ""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return RequestOutcome.CANCELLED, ""
    fault = fault_in(error)
    if fault is None:
        return RequestOutcome.FAILED, "INTERNAL"
    if fault.code is FaultCode.CANCELLED:
        return RequestOutcome.CANCELLED, fault.reason
    return RequestOutcome.REFUSED if fault.code in _REFUSALS else RequestOutcome.FAILED, fault.reason
