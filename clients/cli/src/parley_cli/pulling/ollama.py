"""Has an Ollama server fetch a model, through its HTTP API. Called by `commands.pull`."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from parley_cli.pulling.download import Moved, Patience
from parley_cli.pulling.faults import PullError

_LINE_MAX_BYTES = 64 << 10
_BODY_MAX_BYTES = 4 << 20
_ERROR_MAX_CHARS = 200
# Between two lines: Ollama says nothing while it checks a large file.
_SILENCE_MAX_MS = 600_000
_RETRY_MAX_MS = 30_000
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(?:/[A-Za-z0-9._~/\-]*)?")
_NO_SUCH_MODEL = ("file does not exist", "not found")


class _CutError(Exception):
    """The answer broke off; Ollama keeps what it has."""


class OllamaServer:
    """One server. Use it as a context; methods raise PullError."""

    def __init__(self, url: str, patience: Patience, silence_max_ms: int = _SILENCE_MAX_MS) -> None:
        """Raises PullError for what is no address."""
        self._url = url.rstrip("/")
        self._patience = patience
        self._silence_max_s = silence_max_ms / 1000
        try:
            is_address = bool(_ADDRESS.fullmatch(url)) and bool(urlsplit(url).hostname)
            _ = urlsplit(url).port
        except ValueError:
            is_address = False
        if not is_address:
            raise PullError("bad_ollama_url", url=url[:200])

    async def pull(self, name: str, moved: Moved) -> bool:
        """Have the model; whether it was not there before."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._patience.connect_timeout_ms / 1000)
        async with aiohttp.ClientSession(timeout=timeout, read_bufsize=_LINE_MAX_BYTES) as session:
            if await self._has(session, name):
                return False
            for attempt in range(self._patience.attempt_count):
                if attempt:
                    delay_ms = min(_RETRY_MAX_MS, self._patience.retry_delay_ms << (attempt - 1))
                    await asyncio.sleep(delay_ms / 1000)
                with suppress(_CutError):
                    await self._pull_once(session, name, moved)
                    return True
        raise PullError("ollama_cut", name=name, url=self._url)

    async def _has(self, session: aiohttp.ClientSession, name: str) -> bool:
        try:
            async with asyncio.timeout(self._patience.window_ms / 1000):
                async with session.get(f"{self._url}/api/tags", allow_redirects=False) as response:
                    if response.status != 200:
                        raise PullError("ollama_status", url=self._url, status=response.status)
                    body = await _bounded(response)
            models = json.loads(body)["models"]
            return any(_full(str(each["name"])) == _full(name) for each in models)
        except (aiohttp.ClientError, TimeoutError):
            raise PullError("ollama_unreachable", url=self._url, name=name) from None
        except (ValueError, KeyError, TypeError):
            raise PullError("not_ollama", url=self._url) from None

    async def _pull_once(self, session: aiohttp.ClientSession, name: str, moved: Moved) -> None:
        request = {"model": name, "stream": True}
        try:
            async with asyncio.timeout(self._silence_max_s) as silence:
                async with session.post(
                    f"{self._url}/api/pull", json=request, allow_redirects=False
                ) as response:
                    if response.status not in (200, 400, 404, 500):
                        raise PullError("ollama_status", url=self._url, status=response.status)
                    async for line in _lines(response, self._url):
                        silence.reschedule(asyncio.get_running_loop().time() + self._silence_max_s)
                        if take_line(line, name, self._url, moved):
                            return
        except (aiohttp.ClientError, TimeoutError):
            raise _CutError from None
        raise _CutError


def take_line(line: bytes, name: str, url: str, moved: Moved) -> bool:
    """Whether this line says that all is done. Raises PullError for an error, and for what is no line of Ollama's."""
    try:
        told: Any = json.loads(line)
    except ValueError:
        raise PullError("not_ollama", url=url) from None
    if not isinstance(told, dict):
        raise PullError("not_ollama", url=url)
    error = told.get("error")
    if error:
        words = str(error)[:_ERROR_MAX_CHARS]
        if any(sign in words for sign in _NO_SUCH_MODEL):
            raise PullError("ollama_no_model", name=name)
        raise PullError("ollama_failed", name=name, why=words)
    total, completed = told.get("total"), told.get("completed")
    if isinstance(total, int) and isinstance(completed, int) and 0 <= completed <= total:
        moved(completed, total)
    return told.get("status") == "success"


async def _lines(response: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    held = b""
    async for piece in response.content.iter_any():
        *lines, held = (held + piece).split(b"\n")
        if len(held) > _LINE_MAX_BYTES:
            raise PullError("not_ollama", url=url)
        for line in filter(bytes.strip, lines):
            yield line
    if held.strip():
        yield held


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_chunked(_LINE_MAX_BYTES):
        body += piece
        if len(body) > _BODY_MAX_BYTES:
            raise ValueError("too large")
    return bytes(body)


def _full(name: str) -> str:
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
