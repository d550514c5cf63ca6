"""The folder of models: room, write errors in words, long work in a thread that can be stopped. Used by `pulling`."""

import asyncio
import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from parley_cli.pulling.faults import PullError

Result = TypeVar("Result")
FreeBytes = Callable[[Path], int]
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCK_NAME = ".pulling.lock"


def free_bytes(folder: Path) -> int:
    """Room that this user may fill."""
    return shutil.disk_usage(folder).free


def check_room(name: str, folder: Path, needed_bytes: int, room: FreeBytes) -> None:
    """Raises PullError where a model would not fit."""
    free = room(folder)
    if free < needed_bytes:
        raise PullError(
            "no_room", name=name, folder=folder, needed=needed_bytes // 10**6 + 1, free=free // 10**6
        )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what goes wrong with files within the block into PullError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise PullError("disk_filled", folder=folder) from None
        why = (error.strerror or type(error).__name__).lower()
        raise PullError("folder_unusable", folder=folder, why=why) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder, made where it is missing, for nobody else. PullError when somebody has it or it cannot be written."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with writing(folder):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PullError("busy", folder=folder) from None
        yield
    finally:
        os.close(descriptor)


def flushed(path: Path) -> None:
    """Make a file or a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Put a small file into place at once or not at all."""
    made = path.with_name(f"{path.name}.new")
    made.write_text(text, encoding="utf-8")
    flushed(made)
    made.replace(path)


async def in_thread(work: Callable[[threading.Event], Result]) -> Result:
    """Run blocking work that looks at the event now and then, which is set when this is cancelled."""
    stopped = threading.Event()
    try:
        return await asyncio.to_thread(work, stopped)
    except asyncio.CancelledError:
        stopped.set()
        raise
