"""Every failure that the tts process tells of, by reason. A leaf: any layer may raise these."""

from parley_servicekit.faults import Fault, FaultCode

_RETRY_MS = 1000


def unknown_voice(hint: str, field: str) -> Fault:
    """There is no voice of that name."""
    return Fault.caller("UNKNOWN_VOICE", f"no such voice; {hint}", field=field)


def language_not_spoken(message: str) -> Fault:
    """The voice asked for, or every voice, does not speak the language asked for."""
    return Fault.caller("LANGUAGE_NOT_SPOKEN", message, field="synthesis.language_code")


def abandoned() -> Fault:
    """The request stream ended without end_of_text."""
    return Fault("ABANDONED", "the request ended without end_of_text", code=FaultCode.CANCELLED)


def text_idle(limit_ms: int) -> Fault:
    """Nothing was written for too long."""
    return Fault.deadline("TEXT_IDLE", f"no text and no end_of_text came for {limit_ms} ms")


def reader_stalled(limit_ms: int) -> Fault:
    """The caller does not read what we send."""
    return Fault.deadline("READER_STALLED", f"the answer was not read for {limit_ms} ms")


def at_capacity(stream_max_count: int) -> Fault:
    """All streams are taken."""
    return Fault.capacity(
        "AT_CAPACITY",
        f"all {stream_max_count} streams are taken",
        retry_after_ms=_RETRY_MS,
        metadata={"streamMaxCount": str(stream_max_count)},
    )


def engine_busy(waited_ms: int) -> Fault:
    """Too many phrases wait for the engine, or this one waited too long."""
    return Fault.capacity(
        "ENGINE_BUSY", f"the speech engine was not free within {waited_ms} ms", retry_after_ms=_RETRY_MS
    )


def engine_unavailable(message: str = "the speech engine cannot be reached") -> Fault:
    """The engine is not there; it may come back."""
    return Fault.unavailable("ENGINE_UNAVAILABLE", message, retry_after_ms=_RETRY_MS)


def engine_died() -> Fault:
    """The engine's process ended amid a phrase."""
    return Fault.unavailable("ENGINE_DIED", "the speech engine ended amid a phrase", retry_after_ms=200)


def phrase_failed(message: str = "the speech engine failed on a phrase") -> Fault:
    """The engine answered, but not with the phrase's speech."""
    return Fault.unavailable("SYNTHESIS_FAILED", message, retry_after_ms=_RETRY_MS)


def phrase_too_slow(limit_ms: int) -> Fault:
    """The engine did not finish a phrase in time."""
    return Fault.deadline("PHRASE_TOO_SLOW", f"the speech engine took longer than {limit_ms} ms for a phrase")


def phrase_too_long(limit_s: int) -> Fault:
    """The engine goes on and on."""
    return Fault.internal("PHRASE_TOO_LONG", f"the speech engine made more than {limit_s} s of a phrase")


def unusable(message: str) -> Fault:
    """The configured engine, model or voices cannot be served: the operator has to change something."""
    return Fault("UNUSABLE_ENGINE", message, code=FaultCode.FAILED_PRECONDITION)
