"""`EventSpool`: a bounded append-only file of records, kept while the conversation store is away.

`QueueingConversations` owns one. Each record is a line `CRC32 SPACE JSON`; it is on disk when `append`
returns. After a crash a torn last line is cut off, since nobody was promised it; a damaged line in the middle
is passed over. All calls block: run them in one thread of their own.
"""

import contextlib
import fcntl
import json
import os
import zlib
from pathlib import Path
from typing import Any

from parley_gateway import faults
from parley_servicekit.faults import Fault

_CHUNK_MAX_BYTES = 4 * 1024 * 1024
# A record is at most half a chunk, so that every chunk holds a whole one.
RECORD_MAX_BYTES = _CHUNK_MAX_BYTES // 2


class EventSpool:
    """Holds at most `max_bytes`. The file has mode 0600 (its folder 0700) and is locked to this process.

    size_bytes, record_count: of what is in the file.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open or make the file. Raises STORE_UNAVAILABLE, also when another process has it."""
        self._max_bytes = max_bytes
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unavailable(error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.size_bytes = self._whole_bytes(os.fstat(self._file).st_size)
            os.ftruncate(self._file, self.size_bytes)
            self.record_count = self._newline_count()
        except OSError as error:
            os.close(self._file)
            raise _unavailable(error) from None

    def append(self, record: dict[str, Any]) -> None:
        """Add a record. Raises STORE_UNAVAILABLE when the spool or the disk is full, EVENT_TOO_LARGE."""
        body = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        line = b"%08x %b\n" % (zlib.crc32(body), body)
        if len(line) > RECORD_MAX_BYTES:
            raise faults.event_too_large()
        if self.size_bytes + len(line) > self._max_bytes:
            raise faults.store_unavailable("spool-full")
        try:
            self._write(line)
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.size_bytes)
            raise _unavailable(error) from None
        self.size_bytes += len(line)
        self.record_count += 1

    def read(self, offset: int) -> list[tuple[dict[str, Any] | None, int]]:
        """Some of the records from `offset` on, each with the offset after it; None for a damaged one.

        Empty at the end. Raises STORE_UNAVAILABLE.
        """
        try:
            chunk = os.pread(self._file, min(_CHUNK_MAX_BYTES, self.size_bytes - offset), offset)
        except OSError as error:
            raise _unavailable(error) from None
        whole = chunk.rfind(b"\n") + 1
        if chunk and not whole:
            return [(None, offset + len(chunk))]
        records = []
        for line in chunk[:whole].splitlines(keepends=True):
            offset += len(line)
            records.append((_record(line), offset))
        return records

    def clear_if_read(self, offset: int) -> bool:
        """Empty the spool if `offset` is its end; tells whether it was."""
        if offset != self.size_bytes:
            return False
        try:
            os.ftruncate(self._file, 0)
            os.fsync(self._file)
        except OSError as error:
            raise _unavailable(error) from None
        self.size_bytes = self.record_count = 0
        return True

    def close(self) -> None:
        """Unlock and close the file; what is in it stays."""
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        written = 0
        while written < len(line):
            written += os.pwrite(self._file, line[written:], self.size_bytes + written)

    def _newline_count(self) -> int:
        chunks = range(0, self.size_bytes, _CHUNK_MAX_BYTES)
        return sum(os.pread(self._file, _CHUNK_MAX_BYTES, offset).count(b"\n") for offset in chunks)

    def _whole_bytes(self, size_bytes: int) -> int:
        """Where the last whole line ends."""
        end = size_bytes
        while end > 0:
            start = max(0, end - _CHUNK_MAX_BYTES)
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0


def _record(line: bytes) -> dict[str, Any] | None:
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _unavailable(error: OSError) -> Fault:
    return faults.store_unavailable(f"spool-{type(error).__name__}")
