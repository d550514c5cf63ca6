"""Lines from standard input without blocking the event loop, and without holding up its end. Used by `parley chat`."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Iterator

_WAITING_MAX_COUNT = 16


async def typed_lines(descriptor: int = 0) -> AsyncGenerator[str, None]:
    """Each line without its end, what is not UTF-8 replaced, until the input ends.

    A thread of its own reads, because a read of a terminal cannot be cancelled: a pool's thread would make Ctrl-C wait
    for Enter. It reads the descriptor itself, because Python ends badly while a thread holds the lock of sys.stdin.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    may_read = threading.Semaphore(_WAITING_MAX_COUNT)

    def put(line: bytes | None) -> None:
        may_read.acquire()
        loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            for line in _lines(descriptor):
                put(line)
            put(None)

    threading.Thread(target=read, name="typed_lines", daemon=True).start()
    while (line := await lines.get()) is not None:
        may_read.release()
        yield line.decode(errors="replace").rstrip("\r")


def _lines(descriptor: int) -> Iterator[bytes]:
    rest = b""
    with contextlib.suppress(OSError):  # the terminal has gone: the input has ended
        while piece := os.read(descriptor, 65_536):
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
    if rest:
        yield rest
