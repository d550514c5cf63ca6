"""`parley`: the command line. One module a command; here they are put together and errors become exit codes."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

import typer

from parley_audio.pcm import AudioError
from parley_cli.commands import chat, conversations, doctor, listings, say, talk, transcribe, up
from parley_cli.console import err
from parley_cli.microphone import MicrophoneError
from parley_cli.supervisor import SupervisorError
from parley_servicekit.faults import FaultCode, fault_in

DONE, FAILED, WRONG_USE = 0, 1, 2

app = typer.Typer(
    name="parley",
    help="Talk with machines you own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(up.up)
app.command("demo")(up.demo)
app.command("talk")(talk.talk)
app.command("chat")(chat.chat)
app.command("say")(say.say)
app.command("transcribe")(transcribe.transcribe)
app.add_typer(listings.voices_app, name="voices")
app.add_typer(listings.models_app, name="models")
app.command("personas")(listings.personas)
app.add_typer(conversations.app, name="conversations")
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run a command; exit 0 when done, 1 when a service failed, 2 when it was used wrongly."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except Exception as error:
        sys.exit(_report(error))


def _report(error: Exception) -> int:
    """Say what went wrong in one line; the exit code."""
    root: BaseException = error
    fault = fault_in(error)
    while isinstance(root, BaseExceptionGroup):
        root = root.exceptions[0]
    if fault is not None:
        err.print(f"parley: {fault.message}", markup=False)
        return WRONG_USE if fault.code in (FaultCode.INVALID_ARGUMENT, FaultCode.NOT_FOUND) else FAILED
    if isinstance(root, SupervisorError):
        err.print(f"parley: {root}", markup=False)
        return FAILED
    if isinstance(
        root, AudioError | MicrophoneError | FileNotFoundError | IsADirectoryError | PermissionError
    ):
        err.print(f"parley: {root}", markup=False)
        return WRONG_USE
    raise error


def run(command: Coroutine[Any, Any, None]) -> None:
    """Run a command's coroutine. Raises what it raises."""
    asyncio.run(command)


if __name__ == "__main__":
    main()
