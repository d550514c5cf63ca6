"""A server that behaves on the wire as GPT-SoVITS's api_v2.py does, good and bad ways. Its audio is a tone of ours."""

import asyncio
import json
import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

RATE_HZ = 32_000


def tone(sample_count: int) -> bytes:
    return struct.pack(
        f"<{sample_count}h", *(int(8000 * math.sin(place * 0.1)) for place in range(sample_count))
    )


def wave_header(rate_hz: int = RATE_HZ, data_bytes: int = 0) -> bytes:
    """44 bytes; a streamed one tells RIFF size 36 and data size 0."""
    parts = (
        b"RIFF",
        36 + data_bytes,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        rate_hz,
        2 * rate_hz,
        2,
        16,
        b"data",
        data_bytes,
    )
    return struct.pack("<4sI4s4sIHHIIHH4sI", *parts)


class FakeGptSovits:
    """`behaviour` decides how the next requests are answered; `requests` holds the bodies that came."""

    def __init__(self) -> None:
        self.behaviour = "speech"
        self.raw_response = b""
        self.requests: list[dict[str, Any]] = []
        self.running_count = 0
        self.most_running_count = 0
        self.cancelled_count = 0
        self.let_go = asyncio.Event()
        self.url = ""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.running_count += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if head.startswith("GET /openapi.json"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                return
            lengths = [
                line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")
            ]
            self.requests.append(json.loads(await reader.readexactly(int(lengths[0]))))
            self.most_running_count = max(self.most_running_count, self.running_count)
            await getattr(self, "_" + self.behaviour)(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.cancelled_count += 1
        finally:
            self.running_count -= 1
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _speech(self, writer: asyncio.StreamWriter) -> None:
        """Header, then PCM in chunks that do not keep to samples."""
        body = tone(RATE_HZ // 2)
        self._begin_chunked(writer)
        await self._chunk(writer, wave_header())
        for start in range(0, len(body), 4097):
            await self._chunk(writer, body[start : start + 4097])
        writer.write(b"0\r\n\r\n")

    async def _held(self, writer: asyncio.StreamWriter) -> None:
        """A first chunk, the rest when the test lets go."""
        self._begin_chunked(writer)
        await self._chunk(writer, wave_header() + tone(3200))
        await self.let_go.wait()
        await self._chunk(writer, tone(3200))
        writer.write(b"0\r\n\r\n")

    async def _missing_reference(self, writer: asyncio.StreamWriter) -> None:
        self._begin_chunked(writer)

    async def _unspeakable(self, writer: asyncio.StreamWriter) -> None:
        self._begin_chunked(writer)
        writer.write(b"0\r\n\r\n")

    async def _header_only(self, writer: asyncio.StreamWriter) -> None:
        self._begin_chunked(writer)
        await self._chunk(writer, wave_header())
        writer.write(b"0\r\n\r\n")

    async def _failed_inference(self, writer: asyncio.StreamWriter) -> None:
        self._begin_chunked(writer)
        await self._chunk(writer, wave_header(16_000))
        await self._chunk(writer, bytes(32_000))

    async def _failed_midway(self, writer: asyncio.StreamWriter) -> None:
        self._begin_chunked(writer)
        await self._chunk(writer, wave_header() + tone(3200))

    async def _silence_at_16_khz(self, writer: asyncio.StreamWriter) -> None:
        body = wave_header(16_000, 32_000) + bytes(32_000)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )

    async def _refused(self, writer: asyncio.StreamWriter) -> None:
        body = b'{"message":"tts failed","Exception":"secret words of a caller"}'
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async def _not_audio(self, writer: asyncio.StreamWriter) -> None:
        body = b"<html>a proxy's page, 200 all the same</html>"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async def _raw(self, writer: asyncio.StreamWriter) -> None:
        writer.write(self.raw_response)

    def _begin_chunked(self, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: audio/wav\r\n"
            b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )

    async def _chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n" % len(data) + data + b"\r\n")
        await writer.drain()


@asynccontextmanager
async def fake_gpt_sovits() -> AsyncIterator[FakeGptSovits]:
    """Serves on a loopback port while the context lasts."""
    fake = FakeGptSovits()
    server = await asyncio.start_server(fake.converse, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        fake.let_go.set()
        server.close()
