"""Opens channels to other Parley processes. Used by gateway adapters, the client SDK and tests."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from parley_servicekit.faults import Fault
from parley_servicekit.grpc_early_status import keep_early_status

MESSAGE_MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class ClientTls:
    """PEM files: who to trust (None: the system's roots), and our own certificate and key for mutual TLS."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


def open_channel(
    target: str,
    tls: ClientTls | None = None,
    *,
    message_max_bytes: int = MESSAGE_MAX_BYTES,
    health_service: str | None = None,
) -> grpc.aio.Channel:
    """A channel to `target` (`host:port`, `dns:///name:port`); connects when first used. Await its `close()`.

    With `health_service`, backends whose grpc.health status for that service is not SERVING get no calls.
    """
    options = channel_options(message_max_bytes, health_service)
    if tls is None:
        channel = grpc.aio.insecure_channel(target, options=options)
    else:
        channel = grpc.aio.secure_channel(target, _credentials(tls), options=options)
    keep_early_status(channel)
    return channel


def channel_options(message_max_bytes: int, health_service: str | None = None) -> list[tuple[str, Any]]:
    """Channel arguments of every Parley client."""
    service_config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if health_service is not None:
        service_config["healthCheckConfig"] = {"serviceName": health_service}
    return [
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.max_receive_message_length", message_max_bytes),
        ("grpc.max_send_message_length", message_max_bytes),
        # Without these two a sender buffers minutes of audio before a slow reader is felt.
        ("grpc.http2.lookahead_bytes", 16384),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A new channel connects by itself, instead of waiting out the pauses of an older one to the same address.
        ("grpc.use_local_subchannel_pool", 1),
        # A service that restarts is found again within about a second, at a new address too.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 2_000),  # gRPC's name for the connect timeout
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
        ("grpc.enable_http_proxy", 0),  # an http_proxy variable must not reroute calls between our processes
    ]


async def wait_ready(channel: grpc.aio.Channel, timeout_ms: int) -> None:
    """Wait until the channel is connected; Fault UNREACHABLE (UNAVAILABLE) after `timeout_ms`."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await channel.channel_ready()
    except TimeoutError:
        raise Fault.unavailable("UNREACHABLE", f"no connection within {timeout_ms} ms") from None


def _credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=tls.ca_file.read_bytes() if tls.ca_file else None,
        private_key=tls.key_file.read_bytes() if tls.key_file else None,
        certificate_chain=tls.cert_file.read_bytes() if tls.cert_file else None,
    )
