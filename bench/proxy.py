"""`Proxy`: a TCP proxy on loopback that misbehaves as told. Scenarios put it between the processes, or before Redis.

    async with proxied("127.0.0.1:50052") as proxy:      # proxy.address is what the client gets
        proxy.to_client.latency_ms = 40                  # each direction by itself
        proxy.to_server.stall()                          # no byte passes, the connections stay
        proxy.cut()                                      # every connection is reset
        proxy.partition()                                # nothing passes, and new connections hang
        proxy.heal()                                     # all well again

What was under way when a direction stalled is kept, up to a bound, and passes when it flows again, as a network that
comes back delivers what TCP sends anew. What a peer does meanwhile (its end, its reset) is kept in order too.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_READ_BYTES = 64 * 1024
# Kept per direction and connection; above it the sender is no longer read from, and TCP holds it back.
_KEPT_MAX_BYTES = 256 * 1024
_CONNECTION_MAX_COUNT = 1024
# With this a close is a reset: linger for zero seconds.
_RESET = struct.pack("ii", 1, 0)


class Direction:
    """What happens to bytes going one way, in every connection."""

    def __init__(self) -> None:
        self.latency_ms = 0.0
        self.passed_bytes = 0
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def is_stalled(self) -> bool:
        """Whether no byte passes."""
        return not self._flows.is_set()

    def stall(self) -> None:
        """Let no byte pass."""
        self._flows.clear()

    def flow(self) -> None:
        """Let bytes pass again, first those that were kept."""
        self._flows.set()

    async def wait_flowing(self) -> None:
        """Return when bytes may pass."""
        await self._flows.wait()


class Proxy:
    """In front of one upstream; made by `proxied`. Conditions may change at any time, connections notice at once."""

    def __init__(self, upstream: str) -> None:
        """upstream: `host:port`."""
        self.upstream = upstream
        self.address = ""
        self.to_server = Direction()
        self.to_client = Direction()
        self.connection_count = 0  # all that ever came
        self._connections: set[_Connection] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def open_count(self) -> int:
        """Connections that live now."""
        return len(self._connections)

    def partition(self) -> None:
        """Let nothing pass; new connections get no answer."""
        self.to_server.stall()
        self.to_client.stall()

    def heal(self) -> None:
        """Let everything pass, without latency."""
        for direction in (self.to_server, self.to_client):
            direction.latency_ms = 0.0
            direction.flow()

    def cut(self) -> int:
        """Reset every connection on both sides; how many there were. New ones are let in."""
        cut = tuple(self._connections)
        for connection in cut:
            connection.reset()
        return len(cut)

    async def wait_idle(self) -> None:
        """Return when no connection lives."""
        await self._idle.wait()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its first to its last byte."""
        connection = _Connection(self, reader, writer)
        if len(self._connections) >= _CONNECTION_MAX_COUNT:
            connection.reset()
            return
        self.connection_count += 1
        self._connections.add(connection)
        self._idle.clear()
        try:
            await connection.run()
        finally:
            connection.reset()  # of a connection that has ended well nothing is left to reset
            self._connections.discard(connection)
            if not self._connections:
                self._idle.set()


class _Connection:
    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._writers = [writer]
        self._is_reset = asyncio.Event()

    def reset(self) -> None:
        """Reset both sides."""
        for writer in self._writers:
            _reset(writer)
        self._is_reset.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            passing = tasks.create_task(self._pass(), name="proxy.pass")
            reset = tasks.create_task(self._is_reset.wait(), name="proxy.reset")
            await asyncio.wait({passing, reset}, return_when=asyncio.FIRST_COMPLETED)
            passing.cancel()
            reset.cancel()

    async def _pass(self) -> None:
        proxy = self._proxy
        await proxy.to_server.wait_flowing()  # a partition holds up the handshake too
        host, _, port = proxy.upstream.rpartition(":")
        try:
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            self.reset()
            return
        self._writers.append(writer)
        if self._is_reset.is_set():
            _reset(writer)
            return
        async with asyncio.TaskGroup() as tasks:
            for name, source, sink, direction in (
                ("up", self._client[0], writer, proxy.to_server),
                ("down", reader, self._client[1], proxy.to_client),
            ):
                pipe = _Pipe(direction)
                tasks.create_task(pipe.fill(source), name=f"proxy.{name}.fill")
                tasks.create_task(self._drain(pipe, sink), name=f"proxy.{name}.drain")
        for each in self._writers:
            each.close()

    async def _drain(self, pipe: "_Pipe", sink: asyncio.StreamWriter) -> None:
        try:
            await pipe.drain(sink)
        except OSError:
            self.reset()


class _Pipe:
    """The bytes of one connection going one way, each piece with when it is due."""

    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self._pieces: deque[tuple[float, bytes | None]] = deque()  # empty: the end; None: a reset
        self._kept_bytes = 0
        self._changed = asyncio.Event()

    async def fill(self, source: asyncio.StreamReader) -> None:
        """Take in what comes until its end."""
        loop = asyncio.get_running_loop()
        while True:
            while self._kept_bytes >= _KEPT_MAX_BYTES:
                self._changed.clear()
                await self._changed.wait()
            piece: bytes | None
            try:
                piece = await source.read(_READ_BYTES)
            except OSError:
                piece = None
            self._pieces.append((loop.time() + self._direction.latency_ms / 1000, piece))
            self._kept_bytes += len(piece or b"")
            self._changed.set()
            if not piece:
                return

    async def drain(self, sink: asyncio.StreamWriter) -> None:
        """Pass it on when it is due. Raises OSError when either side has reset."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._pieces:
                self._changed.clear()
                await self._changed.wait()
            due_at_s, piece = self._pieces[0]
            if (wait_s := due_at_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            await self._direction.wait_flowing()
            self._pieces.popleft()
            if piece is None:
                raise ConnectionResetError
            if not piece:
                if sink.can_write_eof():
                    sink.write_eof()
                return
            sink.write(piece)
            await sink.drain()
            self._kept_bytes -= len(piece)
            self._direction.passed_bytes += len(piece)
            self._changed.set()


def _reset(writer: asyncio.StreamWriter) -> None:
    if writer.transport.is_closing():
        return
    plain: socket.socket | None = writer.get_extra_info("socket")
    if plain is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@asynccontextmanager
async def proxied(upstream: str) -> AsyncIterator[Proxy]:
    """A proxy in front of `upstream` (`host:port`) on a free port of loopback, while the block lasts."""
    proxy = Proxy(upstream)
    server = await asyncio.start_server(proxy.converse, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await proxy.wait_idle()
