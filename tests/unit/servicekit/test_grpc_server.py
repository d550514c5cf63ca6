"""Server and client together on loopback: TLS, message limits, backpressure, waiting, health."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic_settings import SettingsConfigDict

from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.grpc_client import ClientTls, open_channel, wait_ready
from parley_servicekit.grpc_faults import fault_from_rpc_error
from parley_servicekit.grpc_server import bind, bind_problem, join_address, new_server
from parley_servicekit.serving import Serving
from parley_servicekit.settings import ProcessSettings

Connect = Callable[[str], AbstractAsyncContextManager[Any]]

ECHO = "/test.Echo/Echo"


class Settings(ProcessSettings):
    model_config = SettingsConfigDict(env_prefix="PARLEY_ASR_")


async def echo(request: bytes, _context: Any) -> bytes:
    return request


@asynccontextmanager
async def started(server: grpc.aio.Server, settings: ProcessSettings) -> AsyncIterator[str]:
    """A started server that is collected after its loop has closed hangs the process: always stopped here."""
    address = bind(server, settings)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(0)


@asynccontextmanager
async def serving_echo(settings: ProcessSettings, **options: Any) -> AsyncIterator[str]:
    server = new_server(**options)
    methods: dict[str, Any] = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
    async with started(server, settings) as address:
        yield address


async def call(address: str, message: bytes = b"word", tls: ClientTls | None = None, **options: Any) -> bytes:
    channel: Any = open_channel(address, tls, **options)
    try:
        answer: bytes = await channel.unary_unary(ECHO)(message, timeout=10)
        return answer
    finally:
        await channel.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other-ca.pem"))
    for name, identity in {"server": "127.0.0.1", "client": "client@example.org"}.items():
        issued = authority.issue_cert(identity)
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}-key.pem"))
        for part in issued.cert_chain_pems:
            part.write_to_path(str(tmp_path / f"{name}.pem"), append=True)
    return tmp_path


async def test_tls_is_spoken_when_it_is_set(certificates: Path) -> None:
    settings = Settings(
        tls_cert_file=certificates / "server.pem", tls_key_file=certificates / "server-key.pem"
    )
    async with serving_echo(settings) as address:
        assert await call(address, tls=ClientTls(ca_file=certificates / "ca.pem")) == b"word"
        for tls in (None, ClientTls(ca_file=certificates / "other-ca.pem")):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(address, tls=tls)


@pytest.mark.parametrize(
    ("wrong", "content"),
    [
        ("tls_cert_file", "garbage"),
        ("tls_cert_file", "other-ca.pem"),
        ("tls_key_file", "garbage"),
        ("tls_key_file", "client-key.pem"),
        ("tls_key_file", "locked-key.pem"),
        ("tls_client_ca_file", "garbage"),
        ("tls_client_ca_file", "server-key.pem"),
    ],
)
async def test_tls_files_that_are_of_no_use_are_named(certificates: Path, wrong: str, content: str) -> None:
    locked = load_pem_private_key((certificates / "server-key.pem").read_bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame")
    )
    (certificates / "locked-key.pem").write_bytes(locked)
    (certificates / "garbage").write_text("garbage")
    files = {"tls_cert_file": "server.pem", "tls_key_file": "server-key.pem", "tls_client_ca_file": "ca.pem"}
    settings = Settings(**{name: certificates / file for name, file in (files | {wrong: content}).items()})
    with pytest.raises(Fault, match=f"SETTING_INVALID: .*PARLEY_ASR_{wrong.upper()}"):
        bind(new_server(), settings)


async def test_mutual_tls_refuses_clients_without_a_certificate(certificates: Path) -> None:
    settings = Settings(
        tls_cert_file=certificates / "server.pem",
        tls_key_file=certificates / "server-key.pem",
        tls_client_ca_file=certificates / "ca.pem",
    )
    known = ClientTls(certificates / "ca.pem", certificates / "client.pem", certificates / "client-key.pem")
    async with serving_echo(settings) as address:
        assert await call(address, tls=known) == b"word"
        with pytest.raises(grpc.aio.AioRpcError):
            await call(address, tls=ClientTls(ca_file=certificates / "ca.pem"))


async def test_messages_over_the_limit_are_refused_and_the_connection_lives() -> None:
    async with serving_echo(Settings(), message_max_bytes=1_000) as address:
        assert await call(address, bytes(900)) == bytes(900)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(address, bytes(1_100))
        assert fault_from_rpc_error(error.value).code is FaultCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.aio.AioRpcError):
            await call(address, bytes(900), message_max_bytes=500)
        assert await call(address) == b"word"


async def test_a_reader_that_stops_is_felt_by_the_writer_within_a_second_of_audio(connect: Connect) -> None:
    """16 kHz, 16 bit: a second is 32 kB; without the small windows gRPC takes 4 MB before it blocks."""
    written_bytes = 0
    blocked = asyncio.Event()

    async def flood_until_blocked(_request: bytes, context: Any) -> None:
        nonlocal written_bytes
        with contextlib.suppress(TimeoutError):
            while written_bytes < 4 << 20:
                async with asyncio.timeout(0.5):
                    await context.write(bytes(1024))
                written_bytes += 1024
        blocked.set()

    server = new_server()
    methods: dict[str, Any] = {"Flood": grpc.unary_stream_rpc_method_handler(flood_until_blocked)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Flood", methods),))
    async with started(server, Settings()) as address, connect(address) as channel:
        stream = channel.unary_stream("/test.Flood/Flood")(b"")
        await stream.read()
        async with asyncio.timeout(60):
            await blocked.wait()
        stream.cancel()
    assert written_bytes < 64 * 1024


async def test_two_servers_cannot_share_a_port() -> None:
    async with serving_echo(Settings()) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(Fault, match=f"port {port} on 127.0.0.1 is taken; set PARLEY_ASR_PORT") as caught:
            async with serving_echo(Settings(port=port)):
                pass
        assert caught.value.code is FaultCode.FAILED_PRECONDITION


def test_an_address_that_is_not_ours_is_told_apart_from_a_taken_port() -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        problem = bind_problem(host, 1234, "PARLEY_ASR_PORT")
        assert problem is not None
        assert problem.reason == "HOST_NOT_HERE"
    assert bind_problem("127.0.0.1", 0, "PARLEY_ASR_PORT") is None


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1:7"), ("::1", "[::1]:7"), ("[::1]", "[::1]:7")]
)
def test_addresses_of_both_families_are_joined(host: str, address: str) -> None:
    assert join_address(host, 7) == address


async def test_waiting_for_a_server_that_is_not_there_ends_in_a_fault() -> None:
    channel = open_channel("127.0.0.1:1")
    with pytest.raises(Fault) as caught:
        await wait_ready(channel, timeout_ms=50)
    assert (caught.value.reason, caught.value.code) == ("UNREACHABLE", FaultCode.UNAVAILABLE)
    await channel.close()


async def test_a_channel_that_follows_health_leaves_a_service_that_is_out() -> None:
    server = new_server()
    serving = Serving(["test.Echo"])
    await serving.register(server)
    methods: dict[str, Any] = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
    async with started(server, Settings()) as address:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(address, health_service="test.Echo")
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await call(address) == b"word"
        await serving.open()
        assert await call(address, health_service="test.Echo") == b"word"
        await serving.set("test.Echo", False)
        assert not serving.is_ready()
        with pytest.raises(ValueError, match=r"test\.Other is not one of test\.Echo"):
            await serving.set("test.Other", True)
        await serving.close()
        await serving.set("test.Echo", True)
        assert not serving.is_ready()
