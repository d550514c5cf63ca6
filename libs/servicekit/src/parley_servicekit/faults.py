"""`Fault`: one failure with its reason, whose fault it is and when to try again.

Free of gRPC, so that pure code may raise it; `grpc_faults` turns it into `google.rpc.Status` at the edge of a
process and back at the client. Callers see a fault's message: it never holds what people said, secrets or
file paths.
"""

import enum
import re
from collections.abc import Mapping
from types import MappingProxyType

_REASON_PATTERN = re.compile(r"[A-Z][A-Z0-9_]{0,61}[A-Z0-9]")
_METADATA_KEY_PATTERN = re.compile(r"[a-z][a-zA-Z0-9_-]{0,63}")
# A status travels twice in HTTP/2 trailers (text and binary), of which peers accept 8 KiB by default.
_MESSAGE_MAX_CHARS = 300
_METADATA_VALUE_MAX_CHARS = 100
_METADATA_MAX_COUNT = 8


class FaultCode(enum.Enum):
    """The gRPC status codes by name and number, without grpc (https://grpc.io/docs/guides/status-codes/)."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_RETRYABLE_CODES = frozenset({FaultCode.UNAVAILABLE, FaultCode.RESOURCE_EXHAUSTED, FaultCode.ABORTED})


class Fault(Exception):  # noqa: N818 - a failure to report, whoever made the error
    """One failure. Attributes are not to be changed after construction.

    reason: UPPER_SNAKE, 2 to 63 characters, stable for programs.
    message: one sentence for people, safe for clients; cut after 300 characters.
    code: whose fault it is, as a gRPC status code.
    retry_after_ms: how long a caller should wait before trying again; None when not known or pointless.
    field: path of the request field that is wrong (`config.input_audio.sample_rate_hertz`).
    metadata: at most 8 small facts for programs; keys lowerCamel or snake, values cut after 100 characters.
    domain: who reports, such as `asr.parley`; empty means the process whose edge sends it.
    Raises ValueError for a reason or a metadata key that the wire does not allow.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        code: FaultCode,
        retry_after_ms: int | None = None,
        field: str | None = None,
        metadata: Mapping[str, str] | None = None,
        domain: str = "",
    ) -> None:
        if not is_reason(reason):
            raise ValueError("a fault's reason is UPPER_SNAKE, 2 to 63 characters")
        if retry_after_ms is not None and retry_after_ms < 0:
            raise ValueError("retry_after_ms is negative")
        facts = dict(metadata or {})
        if len(facts) > _METADATA_MAX_COUNT or not all(_METADATA_KEY_PATTERN.fullmatch(key) for key in facts):
            raise ValueError(
                f"metadata holds at most {_METADATA_MAX_COUNT} entries, keys camelCase or snake_case"
            )
        super().__init__(reason, message)
        self.reason = reason
        self.message = message[:_MESSAGE_MAX_CHARS]
        self.code = code
        self.retry_after_ms = retry_after_ms
        self.field = field
        self.metadata: Mapping[str, str] = MappingProxyType(
            {key: str(value)[:_METADATA_VALUE_MAX_CHARS] for key, value in facts.items()}
        )
        self.domain = domain

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later without the caller changing it."""
        return self.retry_after_ms is not None or self.code in _RETRYABLE_CODES

    @classmethod
    def caller(
        cls, reason: str, message: str, *, field: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> "Fault":
        """The request is wrong whatever the state of the system."""
        return cls(reason, message, code=FaultCode.INVALID_ARGUMENT, field=field, metadata=metadata)

    @classmethod
    def not_found(cls, reason: str, message: str, *, metadata: Mapping[str, str] | None = None) -> "Fault":
        """What the request names does not exist, or not for this caller."""
        return cls(reason, message, code=FaultCode.NOT_FOUND, metadata=metadata)

    @classmethod
    def capacity(
        cls, reason: str, message: str, *, retry_after_ms: int, metadata: Mapping[str, str] | None = None
    ) -> "Fault":
        """Full at the moment, or the caller is over its quota."""
        return cls(
            reason,
            message,
            code=FaultCode.RESOURCE_EXHAUSTED,
            retry_after_ms=retry_after_ms,
            metadata=metadata,
        )

    @classmethod
    def unavailable(
        cls,
        reason: str,
        message: str,
        *,
        retry_after_ms: int = 1000,
        metadata: Mapping[str, str] | None = None,
    ) -> "Fault":
        """Not ready yet, going away, or something this process depends on cannot be reached."""
        return cls(
            reason, message, code=FaultCode.UNAVAILABLE, retry_after_ms=retry_after_ms, metadata=metadata
        )

    @classmethod
    def deadline(cls, reason: str, message: str, *, metadata: Mapping[str, str] | None = None) -> "Fault":
        """It took longer than allowed."""
        return cls(reason, message, code=FaultCode.DEADLINE_EXCEEDED, metadata=metadata)

    @classmethod
    def unimplemented(cls, reason: str, message: str, *, field: str | None = None) -> "Fault":
        """Part of the contract, not served here."""
        return cls(reason, message, code=FaultCode.UNIMPLEMENTED, field=field)

    @classmethod
    def unauthenticated(cls, reason: str, message: str) -> "Fault":
        """No valid key or certificate."""
        return cls(reason, message, code=FaultCode.UNAUTHENTICATED)

    @classmethod
    def permission_denied(cls, reason: str, message: str) -> "Fault":
        """The caller is known and lacks the right."""
        return cls(reason, message, code=FaultCode.PERMISSION_DENIED)

    @classmethod
    def internal(cls, reason: str = "INTERNAL", message: str = "internal error") -> "Fault":
        """Our own mistake. Keep the default message unless it helps the caller and tells nothing private."""
        return cls(reason, message, code=FaultCode.INTERNAL)


def is_reason(text: str) -> bool:
    """Whether `text` may be the reason of an ErrorInfo."""
    return _REASON_PATTERN.fullmatch(text) is not None


def fault_in(error: BaseException) -> Fault | None:
    """The fault that `error` is; of an exception group of nothing but faults, the first one; else None.

    Servicers work in task groups, which wrap what their tasks raise.
    """
    if isinstance(error, Fault):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [fault_in(inner) for inner in error.exceptions]
        return found[0] if all(fault is not None for fault in found) else None
    return None
