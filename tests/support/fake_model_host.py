"""Hosts of models for tests, on loopback: one that gives files, one that is Ollama. Both misbehave as told."""

import asyncio
import bz2
import gzip
import io
import json
import ssl
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

_PIECE_BYTES = 16 << 10


@dataclass
class FakeModelHost:
    """Gives files by path, whole or the rest of them. `requests`: headers of each, small letters, with `path`.

    cut_after: for each coming answer how many bytes of its body come before the connection breaks. statuses: for each
    coming request a status instead of the file. redirects: path to Location. piece_delay_ms: before each 16 KiB.
    stalls_after: bytes, then nothing any more. claimed_bytes: what the head says instead of the truth. claimed_range:
    Content-Range of a rest. status_of_whole: with which a whole file comes.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"first"'
    last_modified: str = ""
    takes_ranges: bool = True
    minds_if_range: bool = True
    tells_length: bool = True
    cut_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    piece_delay_ms: float = 0
    stalls_after: int | None = None
    claimed_bytes: int | None = None
    claimed_range: str = ""
    status_of_whole: int = 200
    requests: list[dict[str, str]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _request(reader)
            self.requests.append(request)
            self.asked.set()
            await self._answer(request, writer)
            await writer.drain()
        writer.close()

    async def _answer(self, request: dict[str, str], writer: asyncio.StreamWriter) -> None:
        path = request["path"]
        if self.statuses:
            _write_head(writer, self.statuses.pop(0), {"Content-Length": "0"})
        elif path in self.redirects:
            _write_head(writer, 302, {"Location": self.redirects[path], "Content-Length": "0"})
        elif path not in self.files:
            _write_head(writer, 404, {"Content-Length": "0"})
        else:
            await self._give(self.files[path], request, writer)

    async def _give(self, content: bytes, request: dict[str, str], writer: asyncio.StreamWriter) -> None:
        headers = {"Accept-Ranges": "bytes"}
        if self.etag:
            headers["ETag"] = self.etag
        if self.last_modified:
            headers["Last-Modified"] = self.last_modified
        offset = self._offset(request)
        status = 206 if offset else self.status_of_whole
        if offset > len(content):
            _write_head(writer, 416, {"Content-Length": "0"})
            return
        if offset:
            honest = f"bytes {offset}-{len(content) - 1}/{len(content)}"
            headers["Content-Range"] = self.claimed_range or honest
        body = content[offset:]
        if self.tells_length:
            headers["Content-Length"] = str(self.claimed_bytes or len(body))
        _write_head(writer, status, headers)
        cut_after = self.cut_after.pop(0) if self.cut_after else None
        for begin in range(0, len(body), _PIECE_BYTES):
            await asyncio.sleep(self.piece_delay_ms / 1000)
            piece = body[begin : begin + _PIECE_BYTES]
            if cut_after is not None and begin + len(piece) > cut_after:
                writer.write(piece[: cut_after - begin])
                await writer.drain()
                return
            if self.stalls_after is not None and begin + len(piece) > self.stalls_after:
                writer.write(piece[: self.stalls_after - begin])
                await writer.drain()
                await asyncio.Event().wait()
            writer.write(piece)
            await writer.drain()

    def _offset(self, request: dict[str, str]) -> int:
        if not self.takes_ranges or "range" not in request:
            return 0
        validator = request.get("if-range", "")
        if self.minds_if_range and validator not in (self.etag, self.last_modified):
            return 0
        return int(request["range"].removeprefix("bytes=").rstrip("-"))


@dataclass
class FakeOllama:
    """Ollama's `/api/tags` and `/api/pull`. A line that is bytes is sent as it is; None breaks the connection.

    answers: for each coming pull its lines, the last ones for all further ones.
    """

    url: str = ""
    models: list[str] = field(default_factory=list)
    answers: list[list[dict[str, Any] | bytes | None]] = field(default_factory=list)
    tags_status: int = 200
    tags_body: bytes | None = None
    hangs: bool = False
    pulls: list[dict[str, Any]] = field(default_factory=list)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _request(reader)
            body = await reader.readexactly(int(request.get("content-length", "0")))
            if self.hangs:
                await asyncio.Event().wait()
            if request["path"] == "/api/tags":
                listed = json.dumps({"models": [{"name": name} for name in self.models]}).encode()
                told = self.tags_body if self.tags_body is not None else listed
                _write_head(writer, self.tags_status, {"Content-Length": str(len(told))})
                writer.write(told)
            else:
                self.pulls.append(json.loads(body))
                lines = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                self._pull(lines, writer)
            await writer.drain()
        writer.close()

    def _pull(self, lines: list[dict[str, Any] | bytes | None], writer: asyncio.StreamWriter) -> None:
        _write_head(writer, 200, {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"})
        for line in lines:
            if line is None:
                return
            content = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            writer.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
            if isinstance(line, dict) and line.get("status") == "success":
                self.models.append(self.pulls[-1]["model"])
        writer.write(b"0\r\n\r\n")


@asynccontextmanager
async def running_host(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeModelHost]:
    """A host of files while the block lasts."""
    host = FakeModelHost()
    async with _serving(host.converse, tls) as host.url:
        yield host


@asynccontextmanager
async def running_ollama() -> AsyncIterator[FakeOllama]:
    """An Ollama while the block lasts, which has nothing and can fetch anything."""
    ollama = FakeOllama(answers=[[{"status": "pulling manifest"}, {"status": "success"}]])
    async with _serving(ollama.converse) as ollama.url:
        yield ollama


def packed(files: dict[str, bytes], top: str = "model-2023", form: str = "bz2") -> bytes:
    """An honest archive: files below one folder."""
    members = [(file_member(f"{top}/{path}", len(content)), content) for path, content in files.items()]
    return packed_members([(folder_member(top), b""), *members], form)


def packed_members(members: list[tuple[tarfile.TarInfo, bytes]], form: str = "bz2") -> bytes:
    """An archive of exactly these members, however hostile."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    compress = bz2.compress if form == "bz2" else gzip.compress
    return compress(plain.getvalue())


def file_member(path: str, size_bytes: int) -> tarfile.TarInfo:
    """The header of a file."""
    member = tarfile.TarInfo(path)
    member.size = size_bytes
    return member


def folder_member(path: str) -> tarfile.TarInfo:
    """The header of a folder."""
    member = tarfile.TarInfo(path)
    member.type = tarfile.DIRTYPE
    return member


def special_member(path: str, kind: bytes, leads_to: str = "") -> tarfile.TarInfo:
    """The header of a link or a device."""
    member = tarfile.TarInfo(path)
    member.type = kind
    member.linkname = leads_to
    return member


@asynccontextmanager
async def _serving(
    converse: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any], tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await converse(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # the test is over
        finally:
            connections.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        while connections:
            await asyncio.sleep(0)


async def _request(reader: asyncio.StreamReader) -> dict[str, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    return {"path": first.split(" ")[1]} | {name.lower(): value.strip() for name, value in pairs}


def _write_head(writer: asyncio.StreamWriter, status: int, headers: dict[str, str]) -> None:
    lines = [
        f"HTTP/1.1 {status} X",
        "Connection: close",
        *(f"{key}: {value}" for key, value in headers.items()),
    ]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
