"""`EspeakProcess`: one espeak-ng child process, seen from the service. Called by `espeak`."""

import asyncio
import contextlib
import json
import struct
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import numpy as np

from parley_tts.ports import Samples, SpokenWord

_HEADER = struct.Struct("<IB")
_WORD = struct.Struct("<II")
_FRAME_MAX_BYTES = 1 << 20
_START_TIMEOUT_S = 15.0
# espeak-ng makes seconds of speech in a millisecond: a child that is silent for so long is stuck.
_FRAME_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 1.0


class EspeakDied(Exception):  # noqa: N818 - a fact about a process
    """The child ended, hangs or talks nonsense. It is not used any more."""


class EspeakRefused(Exception):  # noqa: N818 - an answer
    """espeak-ng said no to this phrase; the child is well."""


@dataclass(frozen=True, slots=True)
class EspeakPhrase:
    """What to say and how. voice: espeak-ng's identifier; rate: words a minute; pitch: 0 to 99."""

    voice: str
    rate: int
    pitch: int
    text: str


class EspeakProcess:
    """Speaks one phrase at a time. `hello`: what the child told about itself and its voices."""

    def __init__(self, process: asyncio.subprocess.Process, hello: dict[str, Any]) -> None:
        self._process = process
        self.hello = hello
        self._is_speaking = False
        self._is_broken = False
        # A cancelled read must not lose its place: the header of a frame whose payload is still to come.
        self._header: tuple[int, int] | None = None

    @classmethod
    async def start(cls) -> "EspeakProcess":
        """Start a child and wait until it can speak. Raises EspeakDied."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "parley_tts.engines.espeak_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=1 << 18,
        )
        child = cls(process, {})
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                kind, payload = await child._read_frame()
            if kind != b"H":
                raise EspeakDied
            child.hello = json.loads(payload)
        except BaseException as error:
            await child.stop()
            if isinstance(error, TimeoutError | ValueError):
                raise EspeakDied from None
            raise
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can be used: it has not ended, and has kept to the protocol, as far as is known."""
        has_hung_up = self._process.stdout is None or self._process.stdout.at_eof()
        return self._process.returncode is None and not self._is_broken and not has_hung_up

    async def wait_ended(self) -> None:
        """Return when it has ended."""
        await self._process.wait()

    async def speak(self, phrase: EspeakPhrase) -> AsyncGenerator[Samples | SpokenWord, None]:
        """Audio and words as they come. Raises EspeakDied, EspeakRefused. Closing it stops the speech."""
        request = {"voice": phrase.voice, "rate": phrase.rate, "pitch": phrase.pitch, "text": phrase.text}
        try:
            await self._settle()
            await self._send(b"S", json.dumps(request).encode())
            self._is_speaking = True
            refused = False
            while (frame := await self._next_frame())[0] != b"D":
                if frame[0] == b"A":
                    yield np.frombuffer(frame[1], dtype="<i2").astype(np.float32) / np.float32(32768)
                elif frame[0] == b"W":
                    yield SpokenWord(*_WORD.unpack(frame[1]))
                refused = refused or frame[0] == b"E"
            self._is_speaking = False
        except EspeakDied:
            self._is_broken = True
            self._kill()
            raise
        finally:
            if self._is_speaking and self.is_alive and self._process.stdin is not None:
                self._process.stdin.write(_HEADER.pack(0, b"C"[0]))
        if refused:
            raise EspeakRefused

    async def stop(self) -> None:
        """End it: politely, then by force."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            await self._process.wait()

    async def _settle(self) -> None:
        """After a phrase was stopped amid its audio: read the rest of it, which is short."""
        while self._is_speaking:
            self._is_speaking = (await self._next_frame())[0] != b"D"

    async def _send(self, kind: bytes, payload: bytes) -> None:
        if self._process.stdin is None:
            raise EspeakDied
        try:
            self._process.stdin.write(_HEADER.pack(len(payload), kind[0]) + payload)
            await self._process.stdin.drain()
        except OSError:
            raise EspeakDied from None

    async def _next_frame(self) -> tuple[bytes, bytes]:
        try:
            async with asyncio.timeout(_FRAME_TIMEOUT_S):
                return await self._read_frame()
        except TimeoutError:
            raise EspeakDied from None

    async def _read_frame(self) -> tuple[bytes, bytes]:
        if self._process.stdout is None:
            raise EspeakDied
        try:
            if self._header is None:
                self._header = _HEADER.unpack(await self._process.stdout.readexactly(_HEADER.size))
            length, kind = self._header
            if length > _FRAME_MAX_BYTES:
                raise EspeakDied
            payload = await self._process.stdout.readexactly(length)
            self._header = None
            return bytes([kind]), payload
        except (asyncio.IncompleteReadError, OSError):
            raise EspeakDied from None

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
