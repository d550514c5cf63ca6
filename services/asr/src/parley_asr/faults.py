"""Every failure that the asr process tells of, by reason. A leaf: any layer may raise these."""

from parley_servicekit.faults import Fault, FaultCode

_RETRY_MS = 1000


def bad_audio(field: str, message: str) -> Fault:
    """Audio that is not what its format says."""
    return Fault.caller("INVALID_AUDIO", message, field=field)


def at_capacity(stream_max_count: int) -> Fault:
    """All streams are taken."""
    return Fault.capacity(
        "AT_CAPACITY",
        f"all {stream_max_count} streams are taken",
        retry_after_ms=_RETRY_MS,
        metadata={"streamMaxCount": str(stream_max_count)},
    )


def decoding_failed() -> Fault:
    """The recogniser raised; its own words may quote what was said, so they are not passed on."""
    return Fault.internal("DECODING_FAILED", "the recogniser failed on this utterance")


def decoding_too_slow() -> Fault:
    """The recogniser did not answer in time."""
    return Fault.deadline("DECODING_TOO_SLOW", "the recogniser did not answer in time")


def engine_closed() -> Fault:
    """The process is going away."""
    return Fault.unavailable("ENGINE_CLOSED", "the recogniser is going away", retry_after_ms=_RETRY_MS)


def unusable_model(message: str) -> Fault:
    """The configured model cannot be served: the operator has to change something. One line, for the log."""
    return Fault("UNUSABLE_MODEL", message, code=FaultCode.FAILED_PRECONDITION)
