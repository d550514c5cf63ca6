"""`ModelServer`: HTTP to a server that runs models, answers streamed by lines. Used by the engines that talk to one.

On aiohttp: closing or cancelling a stream closes its connection at once, which is what makes servers stop generating,
and a token costs clearly less than through httpx, on which the `ollama` and `openai` packages are built
(docs/decisions/0009-one-http-client-for-model-servers.md). An answer that was read to its end (`read_rest`) leaves its
connection to the next one. What a server writes in an error is never passed on: it may quote the conversation.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from types import SimpleNamespace
from typing import Any

import aiohttp

from parley_llm import faults
from parley_llm.engines.line_reader import LineReader, LineTooLong
from parley_servicekit.faults import Fault

_ERROR_MAX_BYTES = 64 << 10
_REPLY_MAX_BYTES = 4 << 20
# Servers close idle connections after 5 s and more; one that is used at that moment is told by a cut, see `_respond`.
_IDLE_MAX_S = 15.0
_STALE_MAX_COUNT = 8
_STALE_WITHIN_S = 1.0
# What follows the last line of an answer is a few bytes that are under way.
_REST_WITHIN_S = 0.05


class Refusal(Exception):  # noqa: N818 - the engine knows what it means
    """A response that is not 200. body: at most 64 KiB of it, for looking into, not for passing on."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class ModelServer:
    """One server. Make it within the event loop; await `close`."""

    def __init__(self, base_url: str, api_key: str, *, connect_timeout_ms: int, read_timeout_ms: int) -> None:
        """base_url: what all paths begin with. api_key: sent as a bearer token unless empty."""
        headers = {"Accept-Encoding": "identity"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._base_url = base_url.rstrip("/")
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=connect_timeout_ms / 1000, sock_read=read_timeout_ms / 1000
            ),
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_MAX_S),
            trace_configs=[_reuse_noted()],
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # a proxy variable must not lead what people say elsewhere
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(self, path: str, timeout_ms: int) -> dict[str, Any]:
        """A JSON object. Raises Fault, or Refusal."""
        try:
            async with asyncio.timeout(timeout_ms / 1000), self._respond("GET", path, None) as response:
                return json_object(await _read(response, _REPLY_MAX_BYTES))
        except TimeoutError:
            raise faults.upstream_timeout() from None

    async def lines(self, path: str, body: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """The lines of the response to a POST, as they come. Raises Fault, or Refusal before the first line."""
        reader = LineReader()
        async with self._respond("POST", path, body) as response:
            async for received in response.content.iter_any():
                for line in reader.feed(received):
                    yield line
            if rest := reader.finish():
                yield rest

    @asynccontextmanager
    async def _respond(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of status 200; its connection is closed with the block, unless it was read to its end."""
        try:
            response = await self._ask(method, path, body)
            try:
                if response.status != 200:
                    raise Refusal(response.status, await _read(response, _ERROR_MAX_BYTES, cut=True))
                yield response
            finally:
                response.close()
        except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, LineTooLong) as error:
            raise _fault_from(error) from None
        except ConnectionError:
            raise faults.upstream_cut() from None

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> aiohttp.ClientResponse:
        """The response, its body still to be read.

        Asked again where a kept connection ends at once and without a word: then the server had closed it before it was
        asked (RFC 9112, 9.3.1). A new connection that is cut, or one after some time, is a failure.
        """
        for _ in range(_STALE_MAX_COUNT):
            use = SimpleNamespace(is_reused=False)
            asked_at_s = monotonic()
            try:
                return await self._session.request(
                    method,
                    f"{self._base_url}/{path}",
                    json=body,
                    allow_redirects=False,
                    trace_request_ctx=use,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not use.is_reused or monotonic() - asked_at_s > _STALE_WITHIN_S:
                    raise
        raise faults.upstream_cut()


async def read_rest(lines: AsyncGenerator[bytes, None]) -> None:
    """Read what follows the last line of an answer, but not for long, so that its connection can be used again."""
    with contextlib.suppress(TimeoutError, Fault):
        async with asyncio.timeout(_REST_WITHIN_S):
            async for _ in lines:
                pass


def _reuse_noted() -> aiohttp.TraceConfig:
    """Notes in a request's `trace_request_ctx` that it goes over a connection that was used before."""

    async def note(_session: Any, context: Any, _params: Any) -> None:
        context.trace_request_ctx.is_reused = True

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(note)
    return tracing


def json_object(text: bytes) -> dict[str, Any]:
    """What `text` says. Raises Fault where it is no JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise faults.upstream_malformed() from None
    if not isinstance(value, dict):
        raise faults.upstream_malformed()
    return value


def count_in(value: object, limit: int = 1 << 31) -> int:
    """A count that a server tells, 0 where it tells none or nonsense."""
    return value if isinstance(value, int) and 0 <= value < limit else 0


def fault_from_refusal(refusal: Refusal, *, model_advice: str, key_advice: str) -> Fault:
    """The fault for a status that is not 200. The advice tells the operator what to do about it."""
    status = refusal.status
    if status in (401, 403):
        return faults.key_refused(key_advice)
    if status == 404:
        return faults.model_missing(model_advice)
    if status == 429:
        return faults.upstream_busy()
    if status in (408, 504):
        return faults.upstream_timeout()
    if status >= 500:
        return faults.upstream_failed(status)
    return faults.upstream_refused(status)


def _fault_from(error: Exception) -> Fault:
    """The fault for a connection that could not be made, was cut, or took too long."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return faults.upstream_unreachable()
    if isinstance(error, aiohttp.ServerTimeoutError):
        return faults.upstream_timeout()
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
        return faults.upstream_cut()
    return faults.upstream_malformed()


async def _read(response: aiohttp.ClientResponse, max_bytes: int, *, cut: bool = False) -> bytes:
    """A body up to `max_bytes`; a longer one is cut or a Fault."""
    received = bytearray()
    async for part in response.content.iter_any():
        received += part
        if len(received) > max_bytes:
            if cut:
                break
            raise faults.upstream_malformed()
    return bytes(received[:max_bytes])
