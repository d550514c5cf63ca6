"""Fetches the metrics of one process over HTTP, bounded in size and time. Used by `parley top`."""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from parley_cli.watching.samples import BODY_MAX_BYTES, NotMetricsError, Samples, parse

_TIMEOUT_S = 2.0
_HEAD_MAX_BYTES = 16 * 1024
_DEFAULT_PORT = 80


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a process tells its metrics."""

    host: str
    port: int
    path: str

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """All of it."""
        return f"http://{self.address}{self.path}"


class ScrapeError(Exception):
    """No metrics. `reason`: unreachable, slow, too_large, status (with `detail`) or not_metrics."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def endpoint_from(text: str) -> Endpoint:
    """`9464`, `host:9464` or `http://host:9464/metrics`. Raises ValueError for anything else."""
    if text.isascii() and text.isdigit():
        text = f"127.0.0.1:{text}"
    parts = urlsplit(text if "://" in text else f"http://{text}")
    has_control = any(not character.isprintable() or character == " " for character in text)
    if parts.scheme != "http" or not parts.hostname or parts.username is not None or has_control:
        raise ValueError(text)
    query = f"?{parts.query}" if parts.query else ""
    path = parts.path if parts.path not in ("", "/") else "/metrics"
    path.encode("ascii")  # a UnicodeEncodeError is a ValueError
    return Endpoint(parts.hostname, parts.port or _DEFAULT_PORT, path + query)


async def scrape(endpoint: Endpoint, timeout_s: float = _TIMEOUT_S) -> Samples:
    """One scrape. Raises ScrapeError, within `timeout_s` whatever the other side does."""
    try:
        async with asyncio.timeout(timeout_s):
            # Parsed in a thread: a large answer must not keep a key from being seen.
            return await asyncio.to_thread(parse, await _fetch(endpoint))
    except TimeoutError:
        raise ScrapeError("slow") from None
    except NotMetricsError:
        raise ScrapeError("not_metrics") from None
    except (OSError, UnicodeError):  # a host name that cannot be one is a UnicodeError
        raise ScrapeError("unreachable") from None


async def _fetch(endpoint: Endpoint) -> str:
    # The stream's limit bounds what is held of a body that comes faster than it is read.
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=_HEAD_MAX_BYTES)
    try:
        # HTTP/1.0: the answer ends with the connection, and never comes in chunks.
        writer.write(
            f"GET {endpoint.path} HTTP/1.0\r\nHost: {endpoint.host}\r\nAccept: text/plain\r\n\r\n".encode()
        )
        await writer.drain()
        _check_status(await _head(reader))
        body = bytearray()
        while piece := await reader.read(65_536):
            body += piece
            if len(body) > BODY_MAX_BYTES:
                raise ScrapeError("too_large")
        return body.decode("utf-8", "replace")
    finally:
        # Not closed politely: whoever does not end its answer would not end its connection either.
        writer.transport.abort()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise ScrapeError("not_metrics") from None


def _check_status(head: bytes) -> None:
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if not words[0].startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise ScrapeError("not_metrics")
    if words[1] != b"200":
        raise ScrapeError("status", words[1][:3].decode("ascii"))
