"""`python -m parley_servicekit.healthcheck asr`: is the process in this container serving? Called by container engines.

It asks grpc.health.v1.Health where `PARLEY_<PROCESS>_HOST` and `_PORT` say, which images set. A process that speaks TLS
may ask for a client's certificate that nobody here has: then /readyz on `PARLEY_<PROCESS>_METRICS_PORT` is asked, which
tells the same. Exit codes: 0 serving; 1 not serving, not reachable, or wrongly asked (container engines know no third).
"""

import http.client
import os
import sys
from collections.abc import Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# Shorter than the time that container engines are given for a check, so that the reason is still told.
_TIMEOUT_S = 2.0
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}


class NotServingError(Exception):
    """The process cannot be called, and why."""


def check(process: str, environ: Mapping[str, str]) -> None:
    """Return if `process` (gateway, asr, llm, tts) is serving where `environ` says. Raises NotServingError."""
    prefix = f"PARLEY_{process.upper()}_"
    host = environ.get(f"{prefix}HOST") or "127.0.0.1"
    host = _ANY_ADDRESS.get(host, host)
    if environ.get(f"{prefix}TLS_CERT_FILE"):
        _ask_http(host, _port(environ, f"{prefix}METRICS_PORT"))
    else:
        _ask_grpc(host, _port(environ, f"{prefix}PORT"))


def _port(environ: Mapping[str, str], variable: str) -> int:
    text = environ.get(variable, "")
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65_536):
        raise NotServingError(f"{variable} is not set to a port: where should be asked?")
    return int(text)


def _ask_grpc(host: str, port: int) -> None:
    address = f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types are those of grpc.aio
        try:
            response = stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            raise NotServingError(f"no answer of grpc.health at port {port}: {error.code().name}") from None
    if response.status != health_pb2.HealthCheckResponse.SERVING:
        raise NotServingError(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))


def _ask_http(host: str, port: int) -> None:
    connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotServingError(f"no answer of /readyz at port {port}: {type(error).__name__}") from None
    finally:
        connection.close()
    if status != http.HTTPStatus.OK:
        raise NotServingError("NOT_SERVING")


def main(arguments: list[str]) -> int:
    """The exit code; why it is not 0 goes to standard error, which container engines keep."""
    if len(arguments) != 1:
        print("usage: python -m parley_servicekit.healthcheck gateway|asr|llm|tts", file=sys.stderr)  # noqa: T201
        return 1
    try:
        check(arguments[0], os.environ)
    except NotServingError as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
