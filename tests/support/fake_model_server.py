"""A model server for tests: speaks Ollama's or OpenAI's protocol on loopback and misbehaves as told.

It recites the alphabet, one letter a piece, up to the longest answer that the request allows. What it saw (bodies, and
which answers the client broke off) can be asked afterwards.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_STREAM_TYPE = {"ollama": "application/x-ndjson", "openai": "text/event-stream"}


@dataclass
class Behaviour:
    """What the server does with the next requests for an answer.

    error_status, error_text: answers with an error instead. Where *_after is set, it counts pieces: then comes an
    error within the stream, an end of the connection in the middle, a proper end of the body without the protocol's
    own end mark, nothing any more, or bytes that are no protocol at all. goes_on_after_end: the body never ends.
    """

    pieces: tuple[str, ...] | None = None
    delta_ms: float = 0
    error_status: int = 0
    error_text: str = "people said this"
    midway_error_after: int | None = None
    cut_after: int | None = None
    unmarked_end_after: int | None = None
    stall_after: int | None = None
    garbage_after: int | None = None
    goes_on_after_end: bool = False
    refuses_think: bool = False
    thinking: tuple[str, ...] = ()
    tells_usage: bool = True
    prompt_max_chars: int | None = None


@dataclass
class FakeModelServer:
    """A running server. `url` is what an engine is configured with.

    request_max_count: what a connection is good for; at the next request it is closed without a word.
    """

    protocol: Literal["ollama", "openai"]
    url: str = ""
    behaviour: Behaviour = field(default_factory=Behaviour)
    models: tuple[str, ...] = ("alphabet:latest", "other:1b")
    api_key: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    request_max_count: int | None = None
    connection_count: int = 0
    running_count: int = 0
    broken_off_count: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    broken_off: asyncio.Event = field(default_factory=asyncio.Event)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request after the other."""
        self.connection_count += 1
        request_count = 0
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    length = int(_header(head, "content-length") or 0)
                    body = json.loads(await reader.readexactly(length) or b"{}")
                    if self.request_max_count is not None and request_count >= self.request_max_count:
                        return
                    request_count += 1
                    await self._answer(head, body, reader, writer)
        finally:
            writer.close()

    async def _answer(
        self, head: str, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        path = head.split(" ")[1]
        if self.api_key and _header(head, "authorization") != f"Bearer {self.api_key}":
            _write_json(writer, 401, {"error": "people said this"})
        elif path == "/api/tags":
            entries = [{"model": name, "name": name, "size": 1000} for name in self.models]
            _write_json(writer, 200, {"models": entries})
        elif path == "/api/ps":
            _write_json(writer, 200, {"models": [{"model": self.models[0], "name": self.models[0]}]})
        elif path == "/v1/models":
            _write_json(writer, 200, {"data": [{"id": name} for name in self.models]})
        elif path in ("/api/chat", "/v1/chat/completions"):
            self.bodies.append(body)
            await self._chat(body, reader, writer)
        else:
            _write_json(writer, 404, {"error": "no such page"})
        await writer.drain()

    async def _chat(
        self, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        behaviour = self.behaviour
        refusal = self._refusal(body, behaviour)
        if refusal is not None:
            _write_json(writer, *refusal)
            return
        self.running_count += 1
        self.asked.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                stream = tasks.create_task(self._stream(body, behaviour, writer), name="fake.stream")
                watch = tasks.create_task(self._watch(reader, stream), name="fake.watch")
                with suppress(asyncio.CancelledError, ConnectionError):
                    await stream
                watch.cancel()
        finally:
            self.running_count -= 1
            if self.broken_off_count:
                self.broken_off.set()

    async def _watch(self, reader: asyncio.StreamReader, stream: "asyncio.Task[None]") -> None:
        """Stop writing once the client has gone, as real servers do."""
        with suppress(ConnectionError):
            await reader.read(1)
        if not stream.done():
            self.broken_off_count += 1
            stream.cancel()

    def _refusal(self, body: dict[str, Any], behaviour: Behaviour) -> tuple[int, dict[str, Any]] | None:
        if behaviour.error_status:
            return behaviour.error_status, {"error": behaviour.error_text}
        if behaviour.refuses_think and "think" in body:
            return 400, {"error": '"alphabet" does not support thinking being switched off'}
        names = {name.removesuffix(":latest") for name in self.models}
        if body["model"].removesuffix(":latest") not in names:
            return 404, {"error": f"model '{body['model']}' not found"}
        char_count = sum(len(message["content"]) for message in body["messages"])
        if behaviour.prompt_max_chars is not None and char_count > behaviour.prompt_max_chars:
            return 400, {"error": {"code": 400, "type": "exceed_context_size_error", "message": "too long"}}
        return None

    async def _stream(self, body: dict[str, Any], behaviour: Behaviour, writer: asyncio.StreamWriter) -> None:
        content_type = _STREAM_TYPE[self.protocol]
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: "
            + content_type.encode()
            + b"\r\n\r\n"
        )
        wanted = _longest_answer(body)
        pieces = behaviour.pieces or tuple(ALPHABET[index % 26] for index in range(wanted))
        for thought in behaviour.thinking:
            self._write_piece(writer, thought, is_thought=True)
        for index, piece in enumerate((*pieces[:wanted], None)):
            if await self._misbehave(index, behaviour, writer):
                return
            if piece is not None:
                if behaviour.delta_ms:
                    await asyncio.sleep(behaviour.delta_ms / 1000)
                self._write_piece(writer, piece)
                await writer.drain()
        is_cut = len(pieces) >= wanted
        self._write_end(
            writer, min(len(pieces), wanted), "length" if is_cut else "stop", behaviour.tells_usage
        )
        if behaviour.goes_on_after_end:
            await writer.drain()
            await asyncio.Event().wait()
        writer.write(b"0\r\n\r\n")

    async def _misbehave(self, index: int, behaviour: Behaviour, writer: asyncio.StreamWriter) -> bool:
        """Whether the stream is over because of it."""
        if index == behaviour.stall_after:
            await writer.drain()
            await asyncio.Event().wait()
        if index == behaviour.midway_error_after:
            self._write(writer, {"error": "people said this"})
            writer.write(b"0\r\n\r\n")
            return True
        if index == behaviour.garbage_after:
            _write_chunk(
                writer, b"data: {people said this\n\n" if self.protocol == "openai" else b"{people\n"
            )
        if index == behaviour.unmarked_end_after:
            writer.write(b"0\r\n\r\n")
            return True
        if index == behaviour.cut_after:
            writer.write(b"ff\r\nda")
            await writer.drain()
            writer.close()
            return True
        return False

    def _write_piece(self, writer: asyncio.StreamWriter, text: str, *, is_thought: bool = False) -> None:
        if self.protocol == "openai":
            delta = {"reasoning_content" if is_thought else "content": text}
            self._write(writer, {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        else:
            message = (
                {"role": "assistant", "content": "", "thinking": text}
                if is_thought
                else {
                    "role": "assistant",
                    "content": text,
                }
            )
            self._write(writer, {"model": "alphabet", "message": message, "done": False})

    def _write_end(self, writer: asyncio.StreamWriter, count: int, reason: str, tells_usage: bool) -> None:
        if self.protocol == "openai":
            self._write(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
            if tells_usage:
                self._write(
                    writer, {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": count}}
                )
            _write_chunk(writer, b"data: [DONE]\n\n")
            return
        counts = {"prompt_eval_count": 7, "eval_count": count} if tells_usage else {}
        last = {"model": "alphabet", "message": {"role": "assistant", "content": ""}, "done": True}
        self._write(writer, last | {"done_reason": reason} | counts)

    def _write(self, writer: asyncio.StreamWriter, value: dict[str, Any]) -> None:
        line = json.dumps(value).encode()
        _write_chunk(writer, b"data: " + line + b"\n\n" if self.protocol == "openai" else line + b"\n")


@asynccontextmanager
async def fake_model_server(protocol: Literal["ollama", "openai"]) -> AsyncIterator[FakeModelServer]:
    """A server on a free port of loopback while the block lasts."""
    fake = FakeModelServer(protocol)
    server = await asyncio.start_server(fake.converse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fake.url = f"http://127.0.0.1:{port}" + ("/v1" if protocol == "openai" else "")
    try:
        yield fake
    finally:
        server.close()


def _longest_answer(body: dict[str, Any]) -> int:
    return int(body["max_tokens"] if "max_tokens" in body else body["options"]["num_predict"])


def _header(head: str, name: str) -> str:
    for line in head.split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return ""


def _write_json(writer: asyncio.StreamWriter, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


def _write_chunk(writer: asyncio.StreamWriter, payload: bytes) -> None:
    writer.write(f"{len(payload):x}\r\n".encode() + payload + b"\r\n")
