"""Failures of an HTTP model server as faults. Used by `chat_completions` and `ollama`."""

import httpx

from parley_llm import faults
from parley_servicekit.faults import Fault


def fault_from_status(status: int, *, model_advice: str, key_advice: str) -> Fault:
    """The fault for an HTTP status that is not 2xx. The advice tells the operator what to do about it."""
    if status in (401, 403):
        return faults.key_refused(key_advice)
    if status == 404:
        return faults.model_missing(model_advice)
    if status == 429:
        return faults.upstream_busy()
    if status in (408, 504):
        return faults.upstream_timeout()
    if status >= 500:
        return faults.upstream_failed(status)
    return faults.upstream_refused(status)


def fault_from_error(error: httpx.HTTPError) -> Fault:
    """The fault for a connection that could not be made, was cut, or took too long."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return faults.upstream_unreachable()
    if isinstance(error, httpx.PoolTimeout):
        return faults.upstream_busy()
    if isinstance(error, httpx.TimeoutException):
        return faults.upstream_timeout()
    return faults.upstream_cut()
