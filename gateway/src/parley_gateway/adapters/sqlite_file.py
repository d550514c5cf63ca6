"""`SqliteFile`: one SQLite file, used in one thread of its own, a whole transaction per call.

`SqliteConversations` works through it. Nothing here blocks the event loop, and a caller that is cancelled
half-way leaves no half-written transaction behind. The file is opened at first use and again after a failure:
a full or read-only disk is STORE_UNAVAILABLE for as long as it lasts and not longer.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from parley_gateway import faults

# secure_delete: what is deleted is overwritten, because it is what people said.
_PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON")
_LOCK_WAIT_MS = 500
# Longer than the wait for another process's lock; a disk that is slower than this counts as away.
_CALL_MAX_S = 1.0

_Result = TypeVar("_Result")


class SqliteFile:
    """Made with mode 0600 (its folder with 0700) at first use; `schema` is what a new file gets.

    schema_version: kept in the file; a file of a higher one is refused with STORE_CORRUPT and left alone.
    """

    def __init__(self, path: Path, schema: Sequence[str], schema_version: int) -> None:
        self._path = path
        self._schema = tuple(schema)
        self._schema_version = schema_version
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None

    async def run(
        self, work: Callable[[sqlite3.Connection], _Result], *, writes: bool = True, then: str = ""
    ) -> _Result:
        """The result of `work`, run as one transaction; `then`: a statement to run outside of it afterwards.

        Raises what `work` raises (and rolls back), STORE_UNAVAILABLE within about a second, STORE_CORRUPT.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CALL_MAX_S):
                return await loop.run_in_executor(self._thread, self._transaction, work, writes, then)
        except TimeoutError:
            raise faults.store_unavailable("timeout") from None

    def _transaction(self, work: Callable[[sqlite3.Connection], _Result], writes: bool, then: str) -> _Result:
        try:
            if self._connection is None:
                self._connection = self._connect()
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            if then:
                connection.execute(then).fetchall()
            return result
        except sqlite3.OperationalError as error:
            # Locked, full, read-only, gone: all of them may pass, with a fresh connection at the latest.
            self._disconnect()
            raise faults.store_unavailable(_name(error)) from None
        except sqlite3.DatabaseError as error:
            self._disconnect()
            raise faults.store_corrupt(_name(error)) from None
        except OSError as error:
            raise faults.store_unavailable(type(error).__name__) from None

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    async def close(self) -> None:
        """Close the file, after the call in progress. Nothing may be run afterwards."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Only when new: to open and close an existing file would drop the locks that this process holds on
        # it.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(self._path, timeout=_LOCK_WAIT_MS / 1000, isolation_level=None)
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            self._bring_up_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _bring_up_schema(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            for statement in self._schema:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {self._schema_version}")
        connection.execute("COMMIT")
        if version > self._schema_version:
            raise faults.store_corrupt("schema-is-newer")


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)
