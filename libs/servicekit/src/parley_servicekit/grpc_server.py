"""Builds and binds the gRPC server of a process. Called by `process`; tests of servicers may use it."""

import errno
import socket
import ssl
from collections.abc import Sequence

import grpc
import grpc.aio

from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.settings import ProcessSettings

MESSAGE_MAX_BYTES = 1 << 20
# Health watches, reflection and calls on their way to a refusal, on top of the admitted RPCs.
_RPC_HEADROOM_COUNT = 256
_CONNECTION_AGE_MS = 60_000


def new_server(
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    *,
    message_max_bytes: int = MESSAGE_MAX_BYTES,
    rpc_max_count: int = 1000,
) -> grpc.aio.Server:
    """An unbound server. `rpc_max_count` admitted RPCs run at once; far above it gRPC itself refuses."""
    return grpc.aio.server(
        interceptors=list(interceptors),
        options=server_options(message_max_bytes),
        maximum_concurrent_rpcs=rpc_max_count + _RPC_HEADROOM_COUNT,
    )


def server_options(message_max_bytes: int) -> list[tuple[str, int]]:
    """Channel arguments of every Parley server."""
    return [
        ("grpc.so_reuseport", 0),  # otherwise a second process silently shares the port on Linux
        ("grpc.max_receive_message_length", message_max_bytes),
        ("grpc.max_send_message_length", message_max_bytes),
        # Without these two a sender buffers minutes of audio before a slow reader is felt.
        ("grpc.http2.lookahead_bytes", 16384),
        ("grpc.http2.bdp_probe", 0),
        # Clients ping every 20 s; by default a server calls that an attack and hangs up.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.max_metadata_size", 16_384),
        # Clients ask the name service anew only when a connection ends. So it does now and then, and they find
        # processes that were added since. Calls and links on the old connection go on to their end.
        ("grpc.max_connection_age_ms", _CONNECTION_AGE_MS),
    ]


def bind(server: grpc.aio.Server, settings: ProcessSettings) -> str:
    """Bind to the settings' address, with TLS where it is set; the result is the real `host:port`.

    Raises Fault (FAILED_PRECONDITION) with a sentence for the operator when the address cannot be had.
    """
    if (problem := bind_problem(settings.host, settings.port, settings.variable("port"))) is not None:
        raise problem  # asked first, because gRPC's core would write lines of its own to standard error
    if settings.tls_cert_file is not None:
        _check_tls_files(settings)  # likewise: it would only say that it cannot listen
    address = join_address(settings.host, settings.port)
    try:
        if settings.tls_cert_file is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, _credentials(settings))
    except RuntimeError:
        raise Fault(
            "BIND_FAILED", f"cannot listen on {address}", code=FaultCode.FAILED_PRECONDITION
        ) from None
    return join_address(settings.host, port)


def join_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 host."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def bind_problem(host: str, port: int, variable: str) -> Fault | None:
    """Why `host:port` cannot be listened on, by a plain socket; None if it can. `variable` sets it."""
    number: int | None = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except socket.gaierror:
        number = errno.EADDRNOTAVAIL
    except OSError as error:
        number = error.errno
    if number is None:
        return None
    if number == errno.EACCES:
        reason, problem = "PORT_NOT_ALLOWED", f"port {port} on {host} is not allowed for this user"
    elif number == errno.EADDRNOTAVAIL:
        reason, problem = "HOST_NOT_HERE", f"{host} is not an address of this machine"
    else:
        reason, problem = "PORT_TAKEN", f"port {port} on {host} is taken"
    advice = f"set {variable} to another one" if reason != "HOST_NOT_HERE" else "listen on one that is"
    return Fault(reason, f"{problem}; {advice}", code=FaultCode.FAILED_PRECONDITION)


def _check_tls_files(settings: ProcessSettings) -> None:
    """Raises Fault (FAILED_PRECONDITION) that names the variables of files that are of no use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")  # how strong a key has to be, gRPC itself decides
    names = f"{settings.variable('tls_cert_file')}, {settings.variable('tls_key_file')}"
    problem = "not readable for this user, or no PEM certificate with its unlocked key"
    try:
        # A locked key is refused by this password; without one, a person at the terminal would be asked.
        context.load_cert_chain(str(settings.tls_cert_file), str(settings.tls_key_file), password="")
        if settings.tls_client_ca_file is not None:
            names = settings.variable("tls_client_ca_file")
            problem = "not readable for this user, or no PEM certificate"
            context.load_verify_locations(settings.tls_client_ca_file)
    except OSError:  # ssl's errors are of this kind
        raise Fault("SETTING_INVALID", f"{names}: {problem}", code=FaultCode.FAILED_PRECONDITION) from None


def _credentials(settings: ProcessSettings) -> grpc.ServerCredentials:
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        raise ValueError("TLS needs a certificate and a key")
    pair = (settings.tls_key_file.read_bytes(), settings.tls_cert_file.read_bytes())
    client_ca = settings.tls_client_ca_file.read_bytes() if settings.tls_client_ca_file else None
    return grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)
