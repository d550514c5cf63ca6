"""Lets the first response of a stream finish even if its writer is cancelled. Used by `grpc_faults`.

grpc.aio (1.85 at least) sends the initial metadata with the first write and notes it only when that has returned. If
the writer is cancelled in between, as a task group does when a sibling fails, the status of the RPC would carry the
metadata a second time, gRPC refuses to send it, and the client waits for ever.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


class FirstWriteKept:
    """Stands for the context of a streaming RPC."""

    def __init__(self, context: Any, tasks: asyncio.TaskGroup) -> None:
        """tasks: outlives the servicer's own tasks; the first write runs in it."""
        self._context = context
        self._tasks = tasks
        self._first: asyncio.Task[Exception | None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        """Send a response."""
        if self._first is None:
            await self._keep(self._context.write(message))
            return
        await asyncio.shield(self._first)
        self.write = self._context.write  # type: ignore[method-assign] # from now on nothing in between
        await self._context.write(message)

    async def send_initial_metadata(self, metadata: Any) -> None:
        """Send metadata ahead of the first response."""
        await self._keep(self._context.send_initial_metadata(metadata))

    async def abort(self, *arguments: Any, **options: Any) -> None:
        """End the RPC with a status."""
        if self._first is not None:
            await asyncio.shield(self._first)
        await self._context.abort(*arguments, **options)

    async def _keep(self, operation: Coroutine[Any, Any, None]) -> None:
        self._first = self._tasks.create_task(_outcome(operation), name="first write")
        if (error := await asyncio.shield(self._first)) is not None:
            raise error


async def _outcome(operation: Coroutine[Any, Any, None]) -> Exception | None:
    try:
        await operation
    except Exception as error:
        return error
    return None
