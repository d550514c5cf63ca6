"""`GptSovitsEngine`: voices cloned from reference clips by GPT-SoVITS servers (its `api_v2.py`), streamed over HTTP.

Opened by `bootstrap`. A server mixes up voices when it gets two requests at once, goes on for a chunk after a
request was cancelled, answers 200 to almost everything, and tells a failed inference by a second of silence at
16 kHz; hence one request a server, a settling time, and a check of everything that comes.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp

from parley_servicekit.faults import Fault
from parley_servicekit.logs import get_logger
from parley_servicekit.queue_metrics import QueueMetrics
from parley_tts import faults
from parley_tts.engines.gpt_sovits_voices import ReferenceVoice, server_language
from parley_tts.engines.instance_slots import InstanceSlots
from parley_tts.engines.wave_stream import WaveStream, WaveStreamError
from parley_tts.ports import Capabilities, Model, Samples, SpeechOptions, SpokenWord, Voice
from parley_tts.voices import VoiceList, check_ranges

_CONNECT_TIMEOUT_S = 2.0
_READ_TIMEOUT_S = 30.0
_PROBE_TIMEOUT_S = 3.0
_OK = 200
_SEED_RANGE = 1 << 32
_WARM_UP_TEXTS = {
    "zh": "你好。",
    "yue": "你好。",
    "ja": "こんにちは。",
    "ko": "안녕하세요.",
    "en": "Hello there.",
}
_log = get_logger()


@dataclass(frozen=True, slots=True)
class GptSovitsOptions:
    """How the servers are used.

    sample_rate_hz: of the model: v1, v2 and v2Pro 32000, v3 24000, v4 48000.
    streaming_mode: 3 fixed chunks, 2 chunks cut at silence, 1 whole sentences.
    waiting_max_count, wait_timeout_ms: phrases that wait for a server, and how long each may.
    settle_ms: a server stays busy for about a chunk after a request was cancelled.
    """

    sample_rate_hz: int = 32_000
    streaming_mode: int = 3
    fragment_interval_s: float = 0.05
    seed: int = 1
    waiting_max_count: int = 16
    wait_timeout_ms: int = 10_000
    settle_ms: int = 700
    warms_up: bool = True


class GptSovitsEngine:
    """One or more servers with the same model and the same voices."""

    def __init__(
        self,
        urls: Sequence[str],
        references: Sequence[ReferenceVoice],
        options: GptSovitsOptions | None = None,
        default_voice: str = "",
        queue: QueueMetrics | None = None,
    ) -> None:
        """queue: told of every wait for a server. Raises Fault when `default_voice` is not among the voices."""
        self._options = options or GptSovitsOptions()
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._references = {reference.name: reference for reference in references}
        self._voices = VoiceList(
            [_voice(reference, self._options) for reference in references], default_voice
        )
        self._slots = InstanceSlots(
            self._urls,
            waiting_max_count=self._options.waiting_max_count,
            wait_timeout_ms=self._options.wait_timeout_ms,
            queue=queue,
        )
        self._lost = asyncio.Event()
        self._is_warm = not self._options.warms_up
        self._session: aiohttp.ClientSession | None = None
        self.capabilities = Capabilities(
            "GPT-SoVITS", is_fast=False, speeds=(0.5, 2.0), pauses_after_sentence=False
        )
        self.is_available = False

    def voices(self) -> Sequence[Voice]:
        """See ports."""
        return self._voices.voices

    def models(self) -> Sequence[Model]:
        """See ports: what the servers have loaded, which they do not tell."""
        codes = dict.fromkeys(code for voice in self.voices() for code in voice.language_codes)
        return (Model("gpt-sovits", "GPT-SoVITS, voices cloned from clips", tuple(codes), self.is_available),)

    async def open(self) -> None:
        """See ports. The servers need not be there yet."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_READ_TIMEOUT_S
        )
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(limit=0, force_close=True), trust_env=False
        )

    async def ensure_available(self) -> None:
        """See ports: every server answers, and the first time every voice speaks."""
        self._lost.clear()
        self.is_available = False
        for url in self._urls:
            await self._probe(url)
        self.is_available = True
        if not self._is_warm:
            await self._warm_up()

    async def wait_lost(self) -> None:
        """See ports."""
        await self._lost.wait()

    def open_stream(self, options: SpeechOptions) -> "GptSovitsStream":
        """See ports."""
        voice = self._voices.choose(options.voice, options.language_code)
        check_ranges(options, self.capabilities)
        reference = self._references[voice.name]
        language = server_language(options.language_code or voice.language_codes[0])
        if language is None:
            raise faults.language_not_spoken("GPT-SoVITS speaks zh, en, ja, ko and yue")
        seed = self._options.seed if options.seed is None else options.seed % _SEED_RANGE
        body = {
            "text_lang": language,
            "ref_audio_path": reference.reference_audio_path,
            "prompt_text": reference.reference_text,
            "prompt_lang": server_language(reference.reference_language),
            "text_split_method": "cut0",  # phrases are cut already
            "batch_size": 1,  # with more the server drops text
            "media_type": "wav",  # its header shows the rate, and so a failed inference
            "streaming_mode": self._options.streaming_mode,
            "fragment_interval": self._options.fragment_interval_s,
            "speed_factor": options.speed,
            "seed": seed,
        }
        return GptSovitsStream(self, voice, body)

    async def close(self) -> None:
        """See ports."""
        if self._session is not None:
            await self._session.close()

    async def speak(self, voice_name: str, body: dict[str, Any]) -> AsyncGenerator[Samples, None]:
        """One request to a server that is free. Raises Fault."""
        url = await self._slots.take(voice_name)
        settle_ms = self._options.settle_ms
        try:
            async with aclosing(self._request(url, body)) as pieces:
                async for samples in pieces:
                    yield samples
            settle_ms = 0
        finally:
            self._slots.release(url, settle_ms)

    async def _request(self, url: str, body: dict[str, Any]) -> AsyncGenerator[Samples, None]:
        wave = WaveStream(self._options.sample_rate_hz)
        try:
            async with self._client().post(f"{url}/tts", json=body, allow_redirects=False) as response:
                if response.status != _OK:
                    raise faults.phrase_failed(f"GPT-SoVITS answered with status {response.status}")
                async for data in response.content.iter_any():
                    samples = wave.push(data)
                    if len(samples):
                        yield samples
        except WaveStreamError as error:
            raise faults.phrase_failed(f"GPT-SoVITS failed on a phrase: {error}") from None
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            raise faults.phrase_failed("GPT-SoVITS cut the connection amid a phrase") from None
        except (aiohttp.ClientError, OSError):  # TimeoutError is one
            self._lost.set()
            raise faults.engine_unavailable("GPT-SoVITS cannot be reached") from None
        if wave.sample_count == 0:
            raise faults.phrase_failed("GPT-SoVITS answered without audio")

    async def _probe(self, url: str) -> None:
        try:
            async with (
                asyncio.timeout(_PROBE_TIMEOUT_S),
                self._client().get(f"{url}/openapi.json") as response,
            ):
                if response.status == _OK:
                    return
        except (aiohttp.ClientError, OSError):
            pass
        raise faults.engine_unavailable("GPT-SoVITS cannot be reached")

    async def _warm_up(self) -> None:
        """Have every server speak with every voice, the default one last: a voice's first use is slow."""
        for voice in reversed(self._voices.voices):
            stream = self.open_stream(SpeechOptions(voice=voice.name))
            for _ in self._urls:
                try:
                    async with aclosing(
                        self.speak("", stream.body(_WARM_UP_TEXTS[stream.language]))
                    ) as pieces:
                        async for _piece in pieces:
                            pass
                except Fault as fault:
                    _log.warning("gpt_sovits.voice_failed", voice=voice.name, reason=fault.reason)
        self._is_warm = True

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the engine is not open")
        return self._session


class GptSovitsStream:
    """See ports.SynthesisStream."""

    def __init__(self, engine: GptSovitsEngine, voice: Voice, body: dict[str, Any]) -> None:
        self._engine = engine
        self._body = body
        self.voice = voice

    @property
    def language(self) -> str:
        """GPT-SoVITS's name of the language."""
        return str(self._body["text_lang"])

    def body(self, text: str) -> dict[str, Any]:
        """The request that speaks `text`."""
        return {"text": text, **self._body}

    async def speak(self, text: str) -> AsyncGenerator[Samples | SpokenWord, None]:
        """See ports."""
        async with aclosing(self._engine.speak(self.voice.name, self.body(text))) as pieces:
            async for samples in pieces:
                yield samples


def _voice(reference: ReferenceVoice, options: GptSovitsOptions) -> Voice:
    codes = reference.language_codes or (reference.reference_language,)
    return Voice(reference.name, reference.description, codes, options.sample_rate_hz)
