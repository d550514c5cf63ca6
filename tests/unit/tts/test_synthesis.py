"""Synthesis with the scripted engine, in memory: marks, order, look-ahead, failures, cancelling."""

import asyncio
import itertools

import numpy as np
import pytest

from parley_audio.pcm import AudioFormat, Encoding, decode_pcm
from parley_tts.audio_output import EncodedAudio
from parley_tts.engines.scripted import ScriptedEngine, ScriptedFailure, SpeechScript
from parley_tts.ports import SpeechOptions
from parley_tts.synthesis import Limits, PhraseFailed, PhraseMarked, Result, Synthesis

FORMAT = AudioFormat(Encoding.PCM_S16LE, 16_000)


class Run:
    """One synthesis and what it sent."""

    def __init__(self, script: SpeechScript, *, gain: float = 1.0, timeout_ms: int = 60_000) -> None:
        self.engine = ScriptedEngine(script)
        self.results: list[Result] = []
        self.synthesis = Synthesis(
            self.engine.open_stream(SpeechOptions()),
            self.engine.capabilities,
            FORMAT,
            self.send,
            gain=gain,
            limits=Limits(phrase_timeout_ms=timeout_ms),
        )

    async def send(self, result: Result) -> None:
        self.results.append(result)
        await asyncio.sleep(0)

    async def speak(self, *deltas: str) -> int:
        for delta in deltas:
            self.synthesis.push(delta)
        self.synthesis.finish()
        return await self.synthesis.run()

    @property
    def marks(self) -> list[PhraseMarked]:
        return [result for result in self.results if isinstance(result, PhraseMarked)]

    @property
    def audios(self) -> list[EncodedAudio]:
        return [result for result in self.results if isinstance(result, EncodedAudio)]

    def place_of_mark(self, index: int) -> int:
        places = enumerate(self.results)
        return next(at for at, result in places if isinstance(result, PhraseMarked) and result.index == index)

    def place_of_audio(self, start: int) -> int:
        places = enumerate(self.results)
        return next(
            at for at, result in places if isinstance(result, EncodedAudio) and result.start_sample == start
        )

    def samples(self) -> np.ndarray:  # type: ignore[type-arg]
        return decode_pcm(
            b"".join(itertools.chain.from_iterable(audio.packets for audio in self.audios)), FORMAT
        )


TEXT = "Hello there, friend. **How** are you today? Good."


@pytest.mark.parametrize("is_fast", [True, False])
async def test_marks_and_audio_fit_together(is_fast: bool) -> None:
    run = Run(SpeechScript(is_fast=is_fast))
    total = await run.speak(*TEXT)
    assert total == len(run.samples()) == sum(audio.sample_count for audio in run.audios)
    whole = [mark for mark in run.marks if mark.sample_count is not None]
    assert "".join(mark.text for mark in whole) == TEXT
    assert len(run.marks) == len(whole) if is_fast else len(run.marks) > len(whole)
    place = 0
    for audio in run.audios:
        assert audio.start_sample == place
        place += audio.sample_count
    for mark in whole:
        assert run.place_of_mark(mark.index) < run.place_of_audio(mark.start_sample)
        assert mark.words[0].text_offset == (2 if mark.text.startswith("**") else 0)
        assert mark.words[0].start_sample == mark.start_sample
    silence = run.samples()[whole[0].start_sample + (whole[0].sample_count or 0) : whole[1].start_sample]
    assert len(silence) == 800 and not silence.any()  # 50 ms after a clause
    assert whole[2].start_sample - whole[1].start_sample - (whole[1].sample_count or 0) == 2400


@pytest.mark.parametrize("text", ["", "  ", "...", "😀", "\n\n"])
async def test_nothing_to_say_is_no_audio(text: str) -> None:
    run = Run(SpeechScript())
    assert await run.speak(text) == 0
    assert not run.audios
    assert "".join(mark.text for mark in run.marks) == text


async def test_a_failed_phrase_is_told_and_the_next_one_spoken() -> None:
    run = Run(SpeechScript(failures=(ScriptedFailure(phrase=2, after_ms=100),)))
    await run.speak("One is here. Two is here. Three is here.")
    (failed,) = [result for result in run.results if isinstance(result, PhraseFailed)]
    assert failed.index == 1 and failed.fault.reason == "SYNTHESIS_FAILED"
    lengths = [mark.sample_count for mark in run.marks if mark.sample_count is not None]
    assert lengths[1] == 1600 and lengths[2] and lengths[2] > 1600


async def test_a_stuck_engine_fails_the_phrase() -> None:
    run = Run(SpeechScript(failures=(ScriptedFailure(phrase=1, kind="hang"),)), timeout_ms=20)
    await run.speak("One is here. Two is here.")
    assert [r.fault.reason for r in run.results if isinstance(r, PhraseFailed)] == ["PHRASE_TOO_SLOW"]
    assert run.audios


async def test_an_early_phrase_is_sent_while_the_text_is_still_written() -> None:
    run = Run(SpeechScript())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run.synthesis.run(), name="synthesis")
        run.synthesis.push("One is here. And tw")
        while not run.audios:
            await asyncio.sleep(0)
        run.synthesis.push("o.")
        run.synthesis.finish()
    assert [mark.text for mark in run.marks if mark.sample_count is not None] == ["One is here. ", "And two."]


async def test_the_first_phrase_is_marked_before_a_slow_engine_has_spoken_any_of_it() -> None:
    run = Run(SpeechScript(failures=(ScriptedFailure(phrase=1, kind="hang"),)))
    async with asyncio.TaskGroup() as tasks:
        speaking = tasks.create_task(run.speak("Hello there."))
        async with asyncio.timeout(5):
            while not run.results:
                await asyncio.sleep(0)
        assert run.results == [PhraseMarked(0, "Hello there.", 0, None)]
        speaking.cancel()


async def test_look_ahead_is_bounded_when_nobody_reads() -> None:
    engine = ScriptedEngine(SpeechScript())
    is_read = asyncio.Event()

    async def send(_result: Result) -> None:
        await is_read.wait()

    synthesis = Synthesis(engine.open_stream(SpeechOptions()), engine.capabilities, FORMAT, send)
    synthesis.push("It goes on. " * 50)
    synthesis.finish()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(synthesis.run(), name="synthesis")
        for _ in range(2000):
            await asyncio.sleep(0)
        assert synthesis.spoken_phrase_count <= 2
        is_read.set()
    assert synthesis.spoken_phrase_count == 50


async def test_cancelling_stops_the_engine() -> None:
    run = Run(SpeechScript(failures=(ScriptedFailure(phrase=1, kind="hang"),)))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(run.speak(TEXT), name="synthesis")
        while not run.engine.running_count:
            await asyncio.sleep(0)
        task.cancel()
    assert run.engine.running_count == 0


async def test_a_failing_send_ends_it_and_stops_the_engine() -> None:
    run = Run(SpeechScript())

    async def send(_result: Result) -> None:
        raise ConnectionError

    run.synthesis._send = send
    with pytest.raises(ExceptionGroup):
        await run.speak(TEXT)
    assert run.engine.running_count == 0


async def test_gain_is_loudness() -> None:
    quiet, loud = Run(SpeechScript(), gain=0.5), Run(SpeechScript(), gain=2.0)
    await quiet.speak(TEXT)
    await loud.speak(TEXT)
    assert np.abs(loud.samples()).max() / np.abs(quiet.samples()).max() == pytest.approx(4, rel=0.02)


async def test_a_long_text_waits_for_room_and_is_spoken_whole() -> None:
    run = Run(SpeechScript(ms_per_character=1, tone_hertz=0, is_fast=True))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run.synthesis.run(), name="synthesis")
        for _ in range(5):
            run.synthesis.push("A line of words, " * 5000)
            await run.synthesis.wait_room()
            assert run.synthesis.pending_chars < 1 << 16
        run.synthesis.finish()
    assert sum(len(mark.text) for mark in run.marks if mark.sample_count is not None) == 5 * 5000 * 17
