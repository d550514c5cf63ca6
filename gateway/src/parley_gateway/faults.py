"""The faults of conversation storage, raised by every `ports.ConversationStore`. A leaf of the gateway.

Messages go to clients: they name no text, no address and no path.
"""

from parley_servicekit.faults import Fault, FaultCode

STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
STORE_CORRUPT = "STORE_CORRUPT"
CONVERSATION_NOT_FOUND = "CONVERSATION_NOT_FOUND"
CONVERSATION_EXISTS = "CONVERSATION_EXISTS"
CONVERSATION_FULL = "CONVERSATION_FULL"
TAKEN_OVER = "TAKEN_OVER"
EVENT_TOO_LARGE = "EVENT_TOO_LARGE"
PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"  # noqa: S105


def store_unavailable(cause: str, retry_after_ms: int = 1000) -> Fault:
    """The store does not answer or takes no writes. cause: a word for operators, such as an error's type."""
    return Fault.unavailable(
        STORE_UNAVAILABLE,
        "conversations cannot be stored or read at the moment",
        retry_after_ms=retry_after_ms,
        metadata={"cause": cause},
    )


def store_corrupt(cause: str) -> Fault:
    """What is stored cannot be understood. cause: one word for operators, never what is stored."""
    return Fault(
        STORE_CORRUPT,
        "the stored conversation is damaged",
        code=FaultCode.DATA_LOSS,
        metadata={"cause": cause},
    )


def conversation_not_found() -> Fault:
    """There is none of this name, it expired, was deleted, or belongs to somebody else."""
    return Fault.not_found(CONVERSATION_NOT_FOUND, "there is no such conversation")


def conversation_exists() -> Fault:
    """The name is taken by another conversation."""
    return Fault(
        CONVERSATION_EXISTS, "a conversation of this name exists already", code=FaultCode.ALREADY_EXISTS
    )


def conversation_full() -> Fault:
    """No further event fits; for good, so it is not a matter of waiting."""
    return Fault(
        CONVERSATION_FULL,
        "the conversation has reached its greatest length; begin a new one",
        code=FaultCode.FAILED_PRECONDITION,
    )


def taken_over() -> Fault:
    """A later session opened the conversation; this one may not write any more."""
    return Fault(
        TAKEN_OVER, "another session carries on this conversation", code=FaultCode.FAILED_PRECONDITION
    )


def event_too_large() -> Fault:
    """One event, or a conversation's own description, is beyond the limit."""
    return Fault.caller(EVENT_TOO_LARGE, "a single entry of the conversation is too large to be stored")


def page_token_invalid() -> Fault:
    """The token was not given by this store."""
    return Fault.caller(PAGE_TOKEN_INVALID, "the page token is not valid", field="page_token")


_TURN_FAILURES = {
    "NO_SPEECH": "nothing was said",
    "RECOGNITION_TIMEOUT": "the asr service gave no final transcript in time",
    "REPLY_TIMEOUT": "nothing of the reply could be heard in time",
    "REPLY_STALLED": "the reply did not go on",
    "REPLY_EMPTY": "the model had nothing to say",
}


def turn_failed(reason: str) -> Fault:
    """A turn or a reply failed in a way that the gateway found out itself (turns.actions.ErrorReason)."""
    code = (
        FaultCode.DEADLINE_EXCEEDED
        if reason in ("RECOGNITION_TIMEOUT", "REPLY_TIMEOUT", "REPLY_STALLED")
        else FaultCode.UNAVAILABLE
    )
    return Fault(reason, _TURN_FAILURES.get(reason, "the turn failed"), code=code)
