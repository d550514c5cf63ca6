"""What goes wrong becomes one line on standard error and an exit code that scripts can read."""

import errno

import pytest
import typer

from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_audio.pcm import AudioError
from parley_cli.microphone import MicrophoneError
from parley_cli.outcome import Outcome
from parley_cli.running import exit_code_of, run
from parley_cli.supervisor import SupervisorError
from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.grpc_faults import status_from_fault

WRONG_USE = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "OUT_OF_RANGE", "UNIMPLEMENTED"}


async def fail(error: BaseException) -> None:
    raise error


def exit_code(error: BaseException) -> int:
    with pytest.raises(typer.Exit) as raised:
        run(fail(error))
    return raised.value.exit_code


def failed(fault: Fault) -> pb2.ConverseResponse:
    return pb2.ConverseResponse(
        error=events_pb2.ConversationError(status=status_from_fault(fault, "gateway.parley"))
    )


@pytest.mark.parametrize("code", list(FaultCode), ids=lambda code: code.name)
def test_every_code_says_whose_mistake_it_was(code: FaultCode) -> None:
    assert exit_code_of(Fault("REASON", "why", code=code)) == (2 if code.name in WRONG_USE else 1)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Fault.not_found("NO_SUCH", "there is none"), 2, "there is none"),
        (Fault.unavailable("AWAY", "it is away"), 1, "it is away"),
        (ExceptionGroup("", [ExceptionGroup("", [Fault.caller("BAD", "bad")])]), 2, "bad"),
        (SupervisorError("port 1 is taken"), 1, "port 1 is taken"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), 2, "a.wav: no such file or directory"),
        (PermissionError(13, "Permission denied", "a.wav"), 2, "a.wav: permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "a.wav"), 1, "a.wav: no space left on device"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), 2, "the text is not UTF-8"),
        (AudioError("a.wav: no sound"), 2, "a.wav: no sound"),
        (MicrophoneError("no microphone"), 2, "no microphone"),
        (Fault.caller("BAD", "a\x1b[2Jb"), 2, "a [2Jb"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_what_goes_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, line: str
) -> None:
    assert exit_code(error) == code
    captured = capsys.readouterr()
    assert captured.err == f"parley: {line}\n"
    assert captured.out == ""


def test_a_mistake_of_our_own_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run(fail(ZeroDivisionError()))


def test_an_exit_code_that_was_chosen_is_kept_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(ExceptionGroup("", [typer.Exit(7)])) == 7
    assert capsys.readouterr().err == ""


def test_ctrl_c_is_130() -> None:
    assert exit_code(KeyboardInterrupt()) == 130


def test_an_unreachable_gateway_is_told_in_the_users_language(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    fault = Fault.unavailable("GATEWAY_UNREACHABLE", "no gateway", metadata={"target": "host:1"})
    assert exit_code(fault) == 1
    assert capsys.readouterr().err.startswith("parley: host:1 没有网关应答")


def test_a_conversation_without_failures_ends_well() -> None:
    outcome = Outcome()
    outcome.take(pb2.ConverseResponse(reply_ended=events_pb2.ReplyEnded()))
    outcome.leave()
    assert outcome.exit_code == 0


def test_the_first_failure_of_a_conversation_decides() -> None:
    outcome = Outcome()
    outcome.take(failed(Fault.caller("BAD", "bad")))
    outcome.take(failed(Fault.unavailable("AWAY", "away")))
    with pytest.raises(typer.Exit) as raised:
        outcome.leave()
    assert raised.value.exit_code == 2
