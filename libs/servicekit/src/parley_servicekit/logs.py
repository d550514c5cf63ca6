"""JSON logs for every process: static event names, ids bound by contextvars, nothing that people said.

`process.run` calls `configure_logs` once. Modules take `get_logger()` and write `log.info("turn.committed",
turn_id=turn_id)`; ids that hold for a task and its children are bound with `bound_ids(session_id=...)`. Every
key that begins with `pii.` is dropped, at any depth, and so are the messages of exceptions and of other
libraries' log records, because they may quote what somebody said.
"""

import logging
import os
import sys
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["json", "console"]

_PRIVATE_PREFIX = "pii."
_FRAMES_MAX_COUNT = 40
_TEMPLATE_MAX_CHARS = 200


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """A logger that follows `configure_logs`, also when taken at import time, before it is called."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def bound_ids(**ids: str) -> AbstractContextManager[None]:
    """Within this context, every log line of this task and of the tasks it starts carries `ids`."""
    return structlog.contextvars.bound_contextvars(**ids)


def configure_logs(
    process: str, level: LogLevel = "INFO", format: LogFormat = "json", stream: TextIO | None = None
) -> None:
    """Send our logs and those of libraries (from WARNING up) to `stream` (standard error), one line an event.

    `console` is for people: aligned text, coloured when the stream is a terminal.
    """
    target = stream if stream is not None else sys.stderr

    def add_process(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    renderer: Any = structlog.processors.JSONRenderer(ensure_ascii=False, default=_plain)
    if format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=target.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_process,
            _render_exception,
            _drop_private,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    # gRPC's core writes lines of its own to standard error; it reads this when it starts.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    root = logging.getLogger()
    root.handlers[:] = [_LibraryRecords(logging.WARNING)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


class _LibraryRecords(logging.Handler):
    """Passes records of the standard logging module on, by place and template, without their arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        # A message without arguments may have been formatted already, so only its place in the code is told.
        template = str(record.msg)[:_TEMPLATE_MAX_CHARS] if record.args else None
        get_logger().log(
            record.levelno,
            "library.message",
            logger=record.name,
            template=template,
            location=f"{record.module}:{record.lineno}",
            exc_info=record.exc_info[1] if record.exc_info else None,
        )


def _render_exception(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace `exc_info` by the exception's type and frames: no local variables, no message."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exception()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = describe_exception(error)
    return event


def describe_exception(error: BaseException) -> dict[str, Any]:
    """Type, frames (innermost last) and cause of an exception, a group's members; never its message."""
    told: dict[str, Any] = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "frames": _frames(error.__traceback__),
    }
    if error.__cause__ is not None:
        told["cause"] = describe_exception(error.__cause__)
    if isinstance(error, BaseExceptionGroup):
        told["members"] = [describe_exception(member) for member in error.exceptions[:8]]
    return told


def _frames(trace: TracebackType | None) -> list[str]:
    summary = traceback.extract_tb(trace)[-_FRAMES_MAX_COUNT:]
    # Two path segments tell which module it is without telling where it is installed.
    return [f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} {frame.name}" for frame in summary]


def _drop_private(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    kept: dict[str, Any] = _without_private(event)
    return kept


def _without_private(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _without_private(inner)
            for key, inner in value.items()
            if not str(key).startswith(_PRIVATE_PREFIX)
        }
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return [_without_private(inner) for inner in value]
    return value


def _plain(value: Any) -> str:
    """What JSON cannot hold: its type only, since a repr may quote what somebody said."""
    return f"<{type(value).__name__}>"
