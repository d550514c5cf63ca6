"""`EspeakEngine`: speech in over a hundred languages by espeak-ng, in a pool of child processes.

Opened by `bootstrap`. A child speaks one phrase at a time, hundreds of times faster than it plays, so two
serve many streams.
"""

import asyncio
import bisect
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from parley_servicekit.faults import Fault
from parley_servicekit.logs import get_logger
from parley_servicekit.queue_metrics import QueueMetrics
from parley_tts import faults
from parley_tts.engines.espeak_process import EspeakDied, EspeakPhrase, EspeakProcess, EspeakRefused
from parley_tts.ports import Capabilities, Model, Samples, SpeechOptions, SpokenWord, Voice
from parley_tts.voices import VoiceList, check_ranges

_LEASE_TIMEOUT_S = 5.0
# Both of two children may have died unnoticed; a phrase that kills its child must not kill many.
_TRY_MAX_COUNT = 3
_WORDS_A_MINUTE = 175
_RATE_MIN, _RATE_MAX = 80, 700
# Measured on a vowel: espeak-ng's pitch parameter and what it does to the fundamental frequency.
_PITCH_PARAMETERS = (0, 25, 50, 75, 99)
_PITCH_FACTORS = (0.69, 0.815, 1.0, 1.25, 1.6)
_CAPABILITIES = Capabilities(
    name="espeak-ng",
    is_fast=True,
    speeds=(round(_RATE_MIN / _WORDS_A_MINUTE, 2), 4.0),
    pitches=(_PITCH_FACTORS[0], _PITCH_FACTORS[-1]),
)
_log = get_logger()


class EspeakEngine:
    """A pool of `child_count` children. Voices are named by language, variants follow: `en-us+f3`."""

    def __init__(
        self, *, child_count: int = 2, default_voice: str = "", queue: QueueMetrics | None = None
    ) -> None:
        """queue: told of every wait for a child."""
        self._queue = queue or QueueMetrics.unregistered()
        self._child_count = child_count
        self._default_voice = default_voice or "en-us"
        self._children: set[EspeakProcess] = set()
        self._idle: asyncio.Queue[EspeakProcess] = asyncio.Queue()
        self._catalogue: _Catalogue | None = None

    @property
    def capabilities(self) -> Capabilities:
        """See ports."""
        return _CAPABILITIES

    @property
    def is_available(self) -> bool:
        """See ports."""
        return any(child.is_alive for child in self._children)

    @property
    def child_pids(self) -> tuple[int, ...]:
        """Process ids of the living children."""
        return tuple(child.pid for child in self._children if child.is_alive)

    def voices(self) -> Sequence[Voice]:
        """See ports: every language once, then the default voice's variants."""
        return self._opened().listed

    def models(self) -> Sequence[Model]:
        """See ports: the synthesiser itself."""
        codes = dict.fromkeys(code for voice in self.voices() for code in voice.language_codes)
        return (Model("espeak-ng", "espeak-ng 1.52, formant synthesis", tuple(codes), is_loaded=True),)

    async def open(self) -> None:
        """See ports."""
        try:
            await self.ensure_available()
        except Fault:
            raise faults.unusable(
                "the espeak-ng child process does not start; is parley-tts[espeak] installed?"
            ) from None
        hello = next(iter(self._children)).hello
        self._catalogue = _Catalogue(hello, self._default_voice)

    async def ensure_available(self) -> None:
        """See ports."""
        self._children = {child for child in self._children if child.is_alive}
        while len(self._children) < self._child_count:
            try:
                child = await EspeakProcess.start()
            except (EspeakDied, OSError):
                raise faults.engine_unavailable("the speech engine does not start") from None
            self._children.add(child)
            self._idle.put_nowait(child)
            _log.info("espeak.child_started", pid=child.pid)

    async def wait_lost(self) -> None:
        """See ports."""
        lost = asyncio.Event()

        async def watch(child: EspeakProcess) -> None:
            await child.wait_ended()
            lost.set()

        async with asyncio.TaskGroup() as tasks:
            watches = [tasks.create_task(watch(child), name="espeak child watch") for child in self._children]
            await lost.wait()
            for task in watches:
                task.cancel()
        _log.warning("espeak.child_lost", left_count=len(self.child_pids))

    def open_stream(self, options: SpeechOptions) -> "EspeakStream":
        """See ports."""
        voice, identifier = self._opened().choose(options)
        check_ranges(options, _CAPABILITIES)
        rate = max(_RATE_MIN, min(_RATE_MAX, round(_WORDS_A_MINUTE * options.speed)))
        return EspeakStream(self, voice, identifier, rate, _pitch_parameter(options.pitch))

    async def close(self) -> None:
        """See ports."""
        for child in self._children:
            await child.stop()
        self._children.clear()

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[EspeakProcess]:
        """A child for one phrase; first come, first served. Raises Fault when none is free in time."""
        try:
            with self._queue.waiting():
                async with asyncio.timeout(_LEASE_TIMEOUT_S):
                    child = await self._idle.get()
                    while not child.is_alive:
                        child = await self._idle.get()
        except TimeoutError:
            raise faults.engine_unavailable("no speech process is free") from None
        try:
            yield child
        finally:
            self._idle.put_nowait(child)  # a dead one is skipped by the next lease

    def _opened(self) -> "_Catalogue":
        if self._catalogue is None:
            raise RuntimeError("the engine is not open")
        return self._catalogue


class EspeakStream:
    """One request. See ports.SynthesisStream."""

    def __init__(self, engine: EspeakEngine, voice: Voice, identifier: str, rate: int, pitch: int) -> None:
        self._engine = engine
        self._voice = voice
        self._identifier = identifier
        self._rate = rate
        self._pitch = pitch

    @property
    def voice(self) -> Voice:
        """See ports."""
        return self._voice

    async def speak(self, text: str) -> AsyncGenerator[Samples | SpokenWord, None]:
        """See ports. A phrase whose child dies before any audio came is tried again in another child."""
        phrase = EspeakPhrase(self._identifier, self._rate, self._pitch, text)
        for tries_left in reversed(range(_TRY_MAX_COUNT)):
            has_spoken = False
            try:
                async with self._engine.lease() as child, aclosing(child.speak(phrase)) as pieces:
                    async for piece in pieces:
                        has_spoken = True
                        yield piece
                return
            except EspeakRefused:
                raise faults.phrase_failed("the speech engine refused a phrase") from None
            except EspeakDied:
                if has_spoken or tries_left == 0:
                    raise faults.engine_died() from None


class _Catalogue:
    """espeak-ng's voices under our names."""

    def __init__(self, hello: dict[str, Any], default_name: str) -> None:
        rate_hz = int(hello["sample_rate_hz"])
        self._identifiers: dict[str, str] = {}
        voices = []
        for entry in sorted(hello["voices"], key=lambda entry: int(entry["priority"])):
            name = entry["languages"][0]
            if name in self._identifiers:
                name = entry["identifier"].rpartition("/")[2].lower()
            self._identifiers[name] = entry["identifier"]
            voices.append(Voice(name, entry["description"], tuple(entry["languages"]), rate_hz))
        self._variants = {
            entry["identifier"].rpartition("/")[2]: entry["description"] for entry in hello["variants"]
        }
        base_name, _, _ = default_name.partition("+")
        self._voices = VoiceList(voices, base_name)
        self._default_variant = ""
        default = self._with_variant(default_name)
        self._default_variant = default_name.partition("+")[2]
        variants = [self._with_variant(f"{base_name}+{variant}") for variant in sorted(self._variants)]
        others = [voice for voice in (*self._voices.voices, *variants) if voice.name != default.name]
        self.listed = (default, *others)

    def choose(self, options: SpeechOptions) -> tuple[Voice, str]:
        """The voice and espeak-ng's name for it. Raises Fault."""
        base_name, _, variant = options.voice.partition("+")
        voice = self._voices.choose(base_name, options.language_code)
        variant = variant or ("" if options.voice else self._default_variant)
        identifier = self._identifiers[voice.name]
        if not variant:
            return voice, identifier
        return self._with_variant(f"{voice.name}+{variant}"), f"{identifier}+{variant}"

    def _with_variant(self, name: str) -> Voice:
        base_name, _, variant = name.partition("+")
        voice = self._voices.named(base_name)
        if not variant:
            return voice
        if variant not in self._variants:
            known = ", ".join(sorted(self._variants)[:8])
            raise faults.unknown_voice(f"some variants are {known}", "synthesis.voice")
        description = f"{voice.description}, variant {self._variants[variant]}"
        return Voice(name, description, voice.language_codes, voice.sample_rate_hz)


def _pitch_parameter(factor: float) -> int:
    """espeak-ng's parameter for a factor within the measured ones, straight lines between them."""
    upper = min(max(bisect.bisect_left(_PITCH_FACTORS, factor), 1), len(_PITCH_FACTORS) - 1)
    low, high = _PITCH_FACTORS[upper - 1], _PITCH_FACTORS[upper]
    share = (factor - low) / (high - low)
    return round(
        _PITCH_PARAMETERS[upper - 1] + share * (_PITCH_PARAMETERS[upper] - _PITCH_PARAMETERS[upper - 1])
    )
