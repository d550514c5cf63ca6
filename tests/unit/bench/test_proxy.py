"""The proxy that scenarios put between processes: passes all bytes, or stalls, cuts and partitions as told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from bench.proxy import Proxy, proxied

# A guard against hanging, not a measurement: everything here takes milliseconds.
_PATIENCE_S = 30.0


@dataclass
class Upstream:
    """Answers every byte with the same byte; remembers what came and how each connection ended."""

    address: str = ""
    got: bytearray = field(default_factory=bytearray)
    connection_count: int = 0
    resets: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    ends: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    reads: asyncio.Event = field(default_factory=asyncio.Event)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count += 1
        try:
            await self.reads.wait()
            while piece := await reader.read(65536):
                self.got += piece
                writer.write(piece)
                await writer.drain()
            self.ends.put_nowait(None)
            writer.close()
        except ConnectionError:
            self.resets.put_nowait(None)


@dataclass
class Wire:
    proxy: Proxy
    upstream: Upstream

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self.proxy.address.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> None:
        writer.write(text)
        assert await reader.readexactly(len(text)) == text


@asynccontextmanager
async def _echo_server() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    upstream.reads.set()
    server = await asyncio.start_server(upstream.converse, "127.0.0.1", 0)
    upstream.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with _echo_server() as upstream, proxied(upstream.address) as proxy, asyncio.timeout(_PATIENCE_S):
        yield Wire(proxy, upstream)


async def test_all_bytes_pass_in_order_and_are_counted(wire: Wire) -> None:
    sent = bytes(range(256)) * 8192  # far more than is kept, so that holding back is needed and harmless
    reader, writer = await wire.connect()

    async def send() -> None:
        writer.write(sent)
        await writer.drain()
        writer.write_eof()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send(), name="send")
        received = await reader.read(-1)
    assert received == sent
    assert bytes(wire.upstream.got) == sent
    assert wire.proxy.to_server.passed_bytes == wire.proxy.to_client.passed_bytes == len(sent)
    await wire.upstream.ends.get()
    writer.close()


async def test_what_stalls_is_kept_and_passes_in_order_when_it_flows_again(wire: Wire) -> None:
    reader, writer = await wire.connect()
    await wire.echo(reader, writer, b"before")
    wire.proxy.to_server.stall()
    writer.write(b"during")
    await _turns()
    assert bytes(wire.upstream.got) == b"before"
    assert wire.proxy.to_server.is_stalled
    wire.proxy.to_server.flow()
    assert await reader.readexactly(6) == b"during"
    writer.close()


async def test_directions_stall_by_themselves(wire: Wire) -> None:
    reader, writer = await wire.connect()
    await wire.echo(reader, writer, b"before")
    wire.proxy.to_client.stall()
    writer.write(b"during")
    while bytes(wire.upstream.got) != b"beforeduring":
        await asyncio.sleep(0)
    await _turns()
    assert wire.proxy.to_client.passed_bytes == len(b"before")
    wire.proxy.heal()
    assert await reader.readexactly(6) == b"during"
    writer.close()


async def test_a_stalled_direction_holds_its_sender_back(wire: Wire) -> None:
    sent = bytes(32 << 20)
    reader, writer = await wire.connect()
    wire.proxy.to_server.stall()
    writer.write(sent)
    await _turns(2000)
    assert writer.transport.get_write_buffer_size() > 16 << 20  # kernel buffers and ours take less than that
    assert not wire.upstream.got
    wire.proxy.to_server.flow()
    assert len(await reader.readexactly(len(sent))) == len(sent)
    writer.close()


async def test_latency_delays_each_piece(wire: Wire) -> None:
    wire.proxy.to_client.latency_ms = 50
    loop = asyncio.get_running_loop()
    reader, writer = await wire.connect()
    began_at_s = loop.time()
    await wire.echo(reader, writer, b"hello")
    assert loop.time() - began_at_s >= 0.05
    writer.close()


async def test_a_cut_resets_both_sides_and_lets_new_connections_in(wire: Wire) -> None:
    reader, writer = await wire.connect()
    await wire.echo(reader, writer, b"before")
    assert wire.proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        await reader.read()
    await wire.upstream.resets.get()
    reader, writer = await wire.connect()
    await wire.echo(reader, writer, b"after")
    assert wire.proxy.connection_count == 2
    writer.close()


async def test_in_a_partition_new_connections_hang_until_it_heals(wire: Wire) -> None:
    wire.proxy.partition()
    reader, writer = await wire.connect()
    writer.write(b"hello")
    await _turns()
    assert wire.upstream.connection_count == 0
    wire.proxy.heal()
    assert await reader.readexactly(5) == b"hello"
    writer.close()


async def test_the_end_and_the_reset_of_a_peer_reach_the_other_one(wire: Wire) -> None:
    reader, writer = await wire.connect()
    writer.write_eof()
    assert await reader.read() == b""
    await wire.upstream.ends.get()
    reader, writer = await wire.connect()
    await wire.echo(reader, writer, b"hello")
    wire.upstream.reads.clear()
    writer.transport.abort()  # without unread data an abort is an end
    await wire.upstream.ends.get()


async def test_a_dead_upstream_resets_whoever_connects() -> None:
    async with _echo_server() as upstream:
        address = upstream.address
    async with proxied(address) as proxy, asyncio.timeout(_PATIENCE_S):
        reader, _ = await Wire(proxy, upstream).connect()
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_leaving_ends_every_connection() -> None:
    async with _echo_server() as upstream, asyncio.timeout(_PATIENCE_S):
        async with proxied(upstream.address) as proxy:
            wire = Wire(proxy, upstream)
            reader, writer = await wire.connect()
            await wire.echo(reader, writer, b"hello")
            proxy.partition()
            held_reader, _ = await wire.connect()
            await _turns()
        assert proxy.open_count == 0
        for each in (reader, held_reader):
            with pytest.raises(ConnectionResetError):
                await each.read()


async def _turns(count: int = 200) -> None:
    """Let everything that can happen happen: loopback needs some turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)
