"""Starts `conversation_writer.py` as a process of its own, kills it, and tells what it was promised."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from parley_gateway.conversation import Event
from support import conversation_writer
from support.conversation_samples import turn


@contextmanager
def writer_process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """conversation_writer.py with these arguments; killed at the end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, conversation_writer.__file__, *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def killed_after(count: int, *arguments: str) -> list[int]:
    """Numbers of the turns that a writer process was promised before SIGKILL."""
    with writer_process(*arguments) as process:
        assert process.stdout is not None
        promised = [int(process.stdout.readline()) for _ in range(count)]
        process.kill()
        return promised + [int(line) for line in process.stdout.read().splitlines()]


def assert_kept(events: Sequence[Event], promised: list[int]) -> None:
    """All that was promised, in order, once; at most the one turn more that was under way."""
    expected = [turn(number, "x" * 300) for number in range(len(promised) + 1)]
    assert list(events) in (expected, expected[:-1])
