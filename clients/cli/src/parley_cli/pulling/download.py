"""Fetches one file over HTTP into a `PartFile`: resumed, bounded, tried again after a cut. Called by `installing`."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from parley_cli.pulling.addresses import AddressError, checked, host_of, redirected
from parley_cli.pulling.disk import FreeBytes, check_room, free_bytes
from parley_cli.pulling.faults import PullError
from parley_cli.pulling.part_file import PartFile
from parley_servicekit.settings import is_loopback

_REDIRECTS_MAX_COUNT = 5
# Small enough that writing it to the page cache does not hold up the loop.
_WRITE_BYTES = 256 << 10
_READ_BYTES = 128 << 10
_RETRY_MAX_MS = 30_000
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,512}"')
_TRY_AGAIN = frozenset([408, 425, 429, 500, 502, 503, 504])
_GONE = frozenset([404, 410])

Moved = Callable[[int, int], None]
"""Bytes that are here, bytes of the whole."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on with a server. Fewer than `window_bytes` within `window_ms`, or nothing, count as a cut.

    attempt_count: failures in a row, each with less than `window_bytes` of progress, before giving up.
    """

    attempt_count: int = 5
    retry_delay_ms: int = 1_000
    connect_timeout_ms: int = 15_000
    window_ms: int = 30_000
    window_bytes: int = 64 << 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch. unpacked_bytes: room that is needed on top of the download itself."""

    name: str
    url: str
    max_bytes: int
    exact_bytes: int | None
    unpacked_bytes: int


class _CutError(Exception):
    """Worth another attempt. `reason` and `values` become a PullError when there is none left."""

    def __init__(self, reason: str, **values: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.values = values


async def download(
    wanted: Wanted, part: PartFile, moved: Moved, patience: Patience, room: FreeBytes = free_bytes
) -> None:
    """Complete `part`. Raises PullError; what has been fetched by then stays, unless it is not wanted at all."""
    failure_count = 0
    farthest_bytes = part.size_bytes
    is_local = is_loopback(checked(wanted.url).hostname or "")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=patience.connect_timeout_ms / 1000)
    # Proxies of the environment are for the world outside.
    async with aiohttp.ClientSession(
        timeout=timeout, trust_env=not is_local, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        while not part.is_complete:
            try:
                await _attempt(session, wanted, part, moved, patience, room)
            except _CutError as cut:
                failure_count += 1
                if part.size_bytes >= farthest_bytes + patience.window_bytes:
                    failure_count = 1
                farthest_bytes = max(farthest_bytes, part.size_bytes)
                if failure_count >= patience.attempt_count:
                    raise PullError(cut.reason, name=wanted.name, **cut.values) from None
                delay_ms = min(_RETRY_MAX_MS, patience.retry_delay_ms << (failure_count - 1))
                await asyncio.sleep(delay_ms / 1000)


async def _attempt(
    session: aiohttp.ClientSession,
    wanted: Wanted,
    part: PartFile,
    moved: Moved,
    patience: Patience,
    room: FreeBytes,
) -> None:
    host = host_of(wanted.url)
    try:
        async with asyncio.timeout(patience.window_ms / 1000) as window:
            async with _opened(session, wanted, part) as response:
                total_bytes = _accept(response, wanted, part)
                _check_room(part, wanted, total_bytes, room)
                moved(part.size_bytes, total_bytes)
                await _receive(response, part, total_bytes, moved, patience, window)
    except TimeoutError:
        raise _CutError("slow", host=host) from None
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError):
        raise PullError("certificate", name=wanted.name, host=host) from None
    except aiohttp.ClientConnectorError as error:
        why = (error.os_error.strerror or str(error.os_error)).lower()[:120]
        raise _CutError("unreachable", host=host, why=why) from None
    except aiohttp.ClientError:
        raise _CutError("cut", host=host) from None
    if not part.is_complete:
        raise _CutError("cut", host=host)


@asynccontextmanager
async def _opened(
    session: aiohttp.ClientSession, wanted: Wanted, part: PartFile
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer behind all redirects, each of which is looked at first."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "parley"}
    if part.validator:
        headers |= {"Range": f"bytes={part.size_bytes}-", "If-Range": part.validator}
    url = wanted.url
    for _ in range(_REDIRECTS_MAX_COUNT + 1):
        # Not encoded once more: signed addresses would no longer fit their signature.
        async with session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as response:
            if response.status not in (301, 302, 303, 307, 308):
                yield response
                return
            try:
                url = redirected(url, response.headers.get("Location", ""))
            except AddressError:
                raise PullError("unsafe_redirect", name=wanted.name, host=host_of(url)) from None
    raise PullError("redirects", name=wanted.name, host=host_of(wanted.url))


def _accept(response: aiohttp.ClientResponse, wanted: Wanted, part: PartFile) -> int:
    """Make `part` ready for what this answer brings; the size of the whole file."""
    if response.status == 206 and part.validator:
        return _accept_rest(response, wanted, part)
    host = host_of(wanted.url)
    if response.status == 416:
        part.discard()
        raise _CutError("upstream_status", host=host, status=416)
    if response.status in _GONE:
        raise PullError("gone", name=wanted.name, host=host, status=response.status)
    if response.status in _TRY_AGAIN:
        raise _CutError("upstream_status", host=host, status=response.status)
    if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
        raise PullError("upstream_status", name=wanted.name, host=host, status=response.status)
    total_bytes = response.content_length
    if not total_bytes:
        raise PullError("no_length", name=wanted.name, host=host)
    _check_size(wanted, total_bytes)
    part.begin(_validator(response), total_bytes)
    return total_bytes


def _accept_rest(response: aiohttp.ClientResponse, wanted: Wanted, part: PartFile) -> int:
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    offset, last, total_bytes = map(int, found.groups()) if found else (-1, -1, -1)
    etag = response.headers.get("ETag", "")
    has_changed = bool(etag and part.validator.startswith('"') and etag != part.validator)
    is_rest = offset == part.size_bytes and last == total_bytes - 1 and total_bytes == part.total_bytes
    if has_changed or not is_rest:
        # Not the rest of what lies here, whatever the server believes.
        part.discard()
        raise _CutError("cut", host=host_of(wanted.url))
    _check_size(wanted, total_bytes)
    return total_bytes


def _check_size(wanted: Wanted, total_bytes: int) -> None:
    if wanted.exact_bytes is not None and total_bytes != wanted.exact_bytes:
        raise PullError("wrong_size", name=wanted.name, size=total_bytes, expected=wanted.exact_bytes)
    if total_bytes > wanted.max_bytes:
        raise PullError("too_large", name=wanted.name, size=total_bytes, limit=wanted.max_bytes)


def _check_room(part: PartFile, wanted: Wanted, total_bytes: int, room: FreeBytes) -> None:
    needed_bytes = total_bytes - part.size_bytes + wanted.unpacked_bytes
    check_room(wanted.name, part.path.parent, needed_bytes, room)


async def _receive(
    response: aiohttp.ClientResponse,
    part: PartFile,
    total_bytes: int,
    moved: Moved,
    patience: Patience,
    window: asyncio.Timeout,
) -> None:
    """Read to the end; each window must bring its bytes. What came before a cut is kept."""
    loop = asyncio.get_running_loop()
    held = bytearray()
    have_bytes = part.size_bytes
    in_window_bytes = 0
    try:
        async for piece in response.content.iter_chunked(_READ_BYTES):
            if have_bytes + len(piece) > total_bytes:
                raise _CutError("cut", host=response.host)
            held += piece
            have_bytes += len(piece)
            in_window_bytes += len(piece)
            if in_window_bytes >= patience.window_bytes:
                in_window_bytes = 0
                window.reschedule(loop.time() + patience.window_ms / 1000)
            if len(held) >= _WRITE_BYTES:
                part.append(bytes(held))
                held.clear()
                moved(have_bytes, total_bytes)
    finally:
        part.append(bytes(held))
    moved(have_bytes, total_bytes)


def _validator(response: aiohttp.ClientResponse) -> str:
    """What If-Range may carry: a strong ETag, else the date of the last change."""
    etag = response.headers.get("ETag", "")
    if _STRONG_ETAG.fullmatch(etag):
        return etag
    return "" if etag.startswith("W/") else response.headers.get("Last-Modified", "")[:64]
