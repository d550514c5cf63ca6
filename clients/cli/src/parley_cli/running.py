"""Runs a command's coroutine and turns what goes wrong into one line and an exit code. Used by every command.

Exit codes are for scripts: 0 done, 1 the service failed, 2 wrong use; 130, as shells have it, after Ctrl-C.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

import typer
from rich.text import Text

from parley_audio.pcm import AudioError
from parley_cli.messages import message
from parley_cli.microphone import MicrophoneError
from parley_cli.screen import err, printable
from parley_cli.supervisor import SupervisorError
from parley_servicekit.faults import Fault, FaultCode, fault_in

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
_WRONG_USE_CODES = (
    FaultCode.INVALID_ARGUMENT,
    FaultCode.NOT_FOUND,
    FaultCode.ALREADY_EXISTS,
    FaultCode.OUT_OF_RANGE,
    FaultCode.UNIMPLEMENTED,
)
_WRONG_PATH_ERRORS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def run(command: Coroutine[Any, Any, None]) -> None:
    """Run it to its end. Raises typer.Exit with the code that fits when it fails, and what is a mistake of our own."""
    try:
        asyncio.run(command)
        sys.stdout.flush()
    except KeyboardInterrupt:
        if err.is_terminal:
            err.print()  # the terminal has shown ^C, and the prompt should begin a line
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        raise typer.Exit(_report(error)) from None


def exit_code_of(fault: Fault) -> int:
    """Whose mistake it was, for scripts."""
    return WRONG_USE if fault.code in _WRONG_USE_CODES else FAILED


def words_for(fault: Fault) -> str:
    """What a fault says to people: in their language where it is the one that everybody meets."""
    is_unreachable = fault.reason == "GATEWAY_UNREACHABLE"
    return message(fault.reason, **fault.metadata) if is_unreachable else fault.message


def _report(error: Exception) -> int:
    """Say what went wrong in one line; the exit code. Raises the error again when it is a mistake of our own."""
    root = _first(error)
    if isinstance(root, typer.Exit):
        return root.exit_code
    if isinstance(root, BrokenPipeError):
        # Whoever read has seen enough. Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    fault = fault_in(error)
    if fault is not None:
        complain(words_for(fault))
        return exit_code_of(fault)
    if isinstance(root, SupervisorError):
        complain(str(root))
        return FAILED
    if isinstance(root, OSError) and root.strerror:
        complain(f"{root.filename}: {root.strerror.lower()}" if root.filename else root.strerror)
        return WRONG_USE if isinstance(root, _WRONG_PATH_ERRORS) else FAILED
    if isinstance(root, UnicodeError):
        complain("the text is not UTF-8")
        return WRONG_USE
    if isinstance(root, AudioError | MicrophoneError):
        complain(str(root))
        return WRONG_USE
    raise error


def _first(error: Exception) -> BaseException:
    root: BaseException = error
    while isinstance(root, BaseExceptionGroup):
        root = root.exceptions[0]
    return root


def complain(text: str) -> None:
    """One line on standard error."""
    err.print(Text.assemble(("parley: ", "bold red"), printable(text)))
