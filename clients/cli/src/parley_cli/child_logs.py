"""The logs of the processes that `parley up` keeps: opened, bounded, read when one dies. Used by `Supervisor`."""

import asyncio
import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import BinaryIO

LOG_MAX_BYTES = 10 * 1024 * 1024
_LOOK_EVERY_S = 30.0
_LAST_WORDS_BYTES = 4096


class ChildLogs:
    """A file per process in one folder, `asr.log`, with the one before as `asr.log.1`."""

    def __init__(self, folder: Path, max_bytes: int = LOG_MAX_BYTES) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._begun_at: dict[str, int] = {}

    def open(self, name: str) -> BinaryIO:
        """A child's log, to append to. OSError when it cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.rotate(name)
        stream = self._path(name).open("ab")
        self._begun_at[name] = stream.tell()
        return stream

    def rotate(self, name: str) -> None:
        """Set aside what is too long. A child goes on writing, at the new end: its file is opened to append."""
        path = self._path(name)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > self._max_bytes:
                shutil.copyfile(path, path.with_suffix(".log.1"))
                os.truncate(path, 0)
                self._begun_at[name] = 0

    async def keep_bounded(self) -> None:
        """Rotate from time to time, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            for name in list(self._begun_at):
                await asyncio.to_thread(self.rotate, name)

    def last_words(self, name: str) -> str:
        """What a child said last, in one line: its JSON record's message, or the plain lines since it was started."""
        with self._path(name).open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(self._begun_at.get(name, 0), size - _LAST_WORDS_BYTES))
            lines = stream.read().decode(errors="replace").strip().splitlines()
        if not lines:
            return "it said nothing"
        with contextlib.suppress(ValueError, AttributeError):
            record = json.loads(lines[-1])
            return str(record.get("message") or record.get("reason") or record.get("event"))
        plain = [line for line in lines if not line.startswith("{")]
        # Settings are refused with a line each; of a traceback the last line says it.
        is_traceback = any(line.startswith("Traceback") for line in plain)
        return plain[-1] if is_traceback else "; ".join(plain[-5:])

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.log"
