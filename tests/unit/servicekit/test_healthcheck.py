"""The health check of images: what it asks, and what it says when the answer is not "serving"."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from parley_servicekit.healthcheck import NotServingError, check, main
from parley_servicekit.metrics import serve_metrics
from parley_servicekit.serving import Serving


@asynccontextmanager
async def process_with_health(*, is_open: bool) -> AsyncIterator[dict[str, str]]:
    """A gRPC server with health, and the variables that an image would set for it."""
    server = grpc.aio.server()
    serving = Serving(["parley.asr.v1.RecognitionService"])
    await serving.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    if is_open:
        await serving.open()
    try:
        yield {"PARLEY_ASR_HOST": "0.0.0.0", "PARLEY_ASR_PORT": str(port)}
    finally:
        await server.stop(0)


async def check_in_thread(environ: dict[str, str]) -> None:
    await asyncio.to_thread(check, "asr", environ)


async def test_a_serving_process_is_healthy() -> None:
    async with process_with_health(is_open=True) as environ:
        await check_in_thread(environ)


async def test_a_process_that_warms_up_or_drains_is_not() -> None:
    async with process_with_health(is_open=False) as environ:
        with pytest.raises(NotServingError, match="NOT_SERVING"):
            await check_in_thread(environ)


async def test_a_process_that_is_away_is_named_with_its_port() -> None:
    async with process_with_health(is_open=True) as environ:
        pass
    with pytest.raises(NotServingError, match=f"port {environ['PARLEY_ASR_PORT']}: UNAVAILABLE"):
        await check_in_thread(environ)


@pytest.mark.parametrize("is_ready", [True, False])
async def test_a_process_with_tls_is_asked_at_its_other_port(is_ready: bool) -> None:
    async with serve_metrics("127.0.0.1", 0, lambda: is_ready, "PARLEY_ASR_METRICS_PORT") as address:
        environ = {
            "PARLEY_ASR_TLS_CERT_FILE": "/secrets/certificate.pem",
            "PARLEY_ASR_METRICS_PORT": address.rpartition(":")[2],
        }
        if is_ready:
            await check_in_thread(environ)
        else:
            with pytest.raises(NotServingError, match="NOT_SERVING"):
                await check_in_thread(environ)


async def test_a_process_with_tls_that_is_away_is_named_with_its_port() -> None:
    async with serve_metrics("127.0.0.1", 0, lambda: True, "PARLEY_ASR_METRICS_PORT") as address:
        port = address.rpartition(":")[2]
    environ = {"PARLEY_ASR_TLS_CERT_FILE": "/secrets/certificate.pem", "PARLEY_ASR_METRICS_PORT": port}
    with pytest.raises(NotServingError, match=f"/readyz at port {port}: ConnectionRefusedError"):
        await check_in_thread(environ)


@pytest.mark.parametrize("port", ["", "0", "65536", "50051x", "-1", "٥٠٠٥١"])
def test_a_port_that_is_none_is_named_by_its_variable(port: str) -> None:
    with pytest.raises(NotServingError, match="PARLEY_ASR_PORT"):
        check("asr", {"PARLEY_ASR_PORT": port})


def test_the_exit_code_is_one_and_the_reason_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARLEY_ASR_PORT", raising=False)
    assert main(["asr"]) == 1
    assert "asr: PARLEY_ASR_PORT" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["asr", "llm"]])
def test_wrong_use_is_unhealthy_too(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert "usage" in capsys.readouterr().err
