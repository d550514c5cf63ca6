"""Every failure that the llm process tells of, by reason. A leaf: any layer may raise these.

What a model server wrote is never passed on: it may quote the conversation, and it may be anything.
"""

from parley_servicekit.faults import Fault, FaultCode

_RETRY_MS = 1000


def prompt_too_long(field: str) -> Fault:
    """Even without its old turns the conversation does not fit the model's context."""
    return Fault.caller("PROMPT_TOO_LONG", "the text does not fit the model's context", field=field)


def model_not_found() -> Fault:
    """The request names a model that is not offered."""
    return Fault.not_found("MODEL_NOT_FOUND", "no such model here; ListModels tells which there are")


def at_capacity(retry_after_ms: int) -> Fault:
    """All slots are taken and the queue is full."""
    return Fault.capacity(
        "AT_CAPACITY", "all slots are taken and the queue is full", retry_after_ms=retry_after_ms
    )


def queue_timeout(timeout_ms: int) -> Fault:
    """No slot became free in time."""
    return Fault.capacity(
        "QUEUE_TIMEOUT", f"no slot became free within {timeout_ms} ms", retry_after_ms=timeout_ms
    )


def first_token_timeout() -> Fault:
    """No text at all in time."""
    return Fault.deadline("FIRST_TOKEN_TIMEOUT", "the model wrote nothing in time")


def answer_stalled() -> Fault:
    """Too long between two pieces."""
    return Fault.deadline("ANSWER_STALLED", "the model stopped writing")


def answer_timeout() -> Fault:
    """Too long in all."""
    return Fault.deadline("ANSWER_TIMEOUT", "the answer took too long as a whole")


def load_timeout() -> Fault:
    """Loading took too long."""
    return Fault.deadline("LOAD_TIMEOUT", "the model was not loaded in time")


def engine_restarting() -> Fault:
    """Between the end of a child process and its successor."""
    return Fault.unavailable("ENGINE_RESTARTING", "the model is being loaded again")


def engine_hung() -> Fault:
    """A child process that runs and does not answer."""
    return Fault.unavailable("ENGINE_HUNG", "the model's process no longer answers and is started anew")


def model_unreadable(name: str, problem: str) -> Fault:
    """A model file that cannot be loaded, for the operator."""
    return Fault("MODEL_UNREADABLE", f"{name}: {problem}", code=FaultCode.FAILED_PRECONDITION)


def script_unreadable(problem: str) -> Fault:
    """A script that is none, for the operator."""
    return Fault(
        "SCRIPT_UNREADABLE", f"PARLEY_LLM_SCRIPT_FILE: {problem}", code=FaultCode.FAILED_PRECONDITION
    )


def model_missing(advice: str) -> Fault:
    """The model server does not have the model; the advice tells the operator what to do."""
    return Fault(
        "MODEL_MISSING",
        f"the model server does not have the model; {advice}",
        code=FaultCode.FAILED_PRECONDITION,
    )


def key_refused(advice: str) -> Fault:
    """The model server refuses our key; the advice tells the operator what to do."""
    return Fault(
        "UPSTREAM_KEY_REFUSED",
        f"the model server refuses our key; {advice}",
        code=FaultCode.FAILED_PRECONDITION,
    )


def upstream_unreachable() -> Fault:
    """No connection."""
    return Fault.unavailable("UPSTREAM_UNREACHABLE", "the model server cannot be reached")


def upstream_busy() -> Fault:
    """The model server has no room."""
    return Fault.capacity("UPSTREAM_BUSY", "the model server is busy", retry_after_ms=_RETRY_MS)


def upstream_timeout() -> Fault:
    """The model server keeps us waiting."""
    return Fault.deadline("UPSTREAM_TIMEOUT", "the model server took too long")


def upstream_failed(http_status: int | None = None) -> Fault:
    """The model server reports an error of its own, before the answer (with a status) or within it."""
    metadata = None if http_status is None else {"httpStatus": str(http_status)}
    return Fault.unavailable("UPSTREAM_FAILED", "the model server failed", metadata=metadata)


def upstream_refused(http_status: int) -> Fault:
    """The model server does not understand us, which is our mistake."""
    return Fault(
        "UPSTREAM_REFUSED",
        "the model server does not accept the request",
        code=FaultCode.INTERNAL,
        metadata={"httpStatus": str(http_status)},
    )


def upstream_cut() -> Fault:
    """The connection broke."""
    return Fault.unavailable("UPSTREAM_CUT", "the connection to the model server broke")


def upstream_malformed() -> Fault:
    """An answer that does not follow the protocol."""
    return Fault.unavailable("UPSTREAM_MALFORMED", "the model server's answer cannot be read")


def upstream_incomplete() -> Fault:
    """An answer that ended without saying that it is whole."""
    return Fault.unavailable("UPSTREAM_INCOMPLETE", "the model server broke the answer off")
