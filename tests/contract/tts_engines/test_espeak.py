"""The espeak-ng pool: real children, killed and stuck."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from parley_servicekit.faults import Fault
from parley_tts.engines.espeak import EspeakEngine
from parley_tts.ports import SpeechOptions, SpokenWord


@pytest.fixture
async def engine() -> AsyncIterator[EspeakEngine]:
    opened = EspeakEngine(child_count=2)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


async def speak(
    engine: EspeakEngine, text: str = "Good evening.", voice: str = ""
) -> tuple[int, list[SpokenWord]]:
    count = 0
    words = []
    async with aclosing(engine.open_stream(SpeechOptions(voice=voice)).speak(text)) as pieces:
        async for piece in pieces:
            if isinstance(piece, SpokenWord):
                words.append(piece)
            else:
                count += len(piece)
    return count, words


async def test_words_are_where_they_are_written(engine: EspeakEngine) -> None:
    text = "Über den Dächern"
    _, words = await speak(engine, text, "de")
    assert [text[word.text_offset :].split(maxsplit=1)[0] for word in words] == text.split()


async def test_a_dead_child_costs_nothing_when_another_lives(engine: EspeakEngine) -> None:
    os.kill(engine.child_pids[0], signal.SIGKILL)
    for _ in range(4):
        count, _ = await speak(engine)
        assert count > 0
    assert engine.is_available


async def test_a_phrase_waits_for_a_fresh_child_when_all_are_dead(engine: EspeakEngine) -> None:
    async def replace_lost() -> None:
        while True:
            await engine.wait_lost()
            await engine.ensure_available()

    killed = set(engine.child_pids)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        replacing = tasks.create_task(replace_lost(), name="replace lost children")
        count, _ = await speak(engine)
        while len(set(engine.child_pids) - killed) < 2:
            await asyncio.sleep(0.01)
        replacing.cancel()
    assert count > 0


async def test_a_child_that_dies_amid_audio_is_a_typed_fault() -> None:
    engine = EspeakEngine(child_count=1)
    await engine.open()
    try:
        speaking = engine.open_stream(SpeechOptions()).speak("word " * 2000)
        await anext(speaking)
        os.kill(engine.child_pids[0], signal.SIGKILL)
        with pytest.raises(Fault) as caught:
            async for _ in speaking:
                pass
        assert caught.value.reason == "ENGINE_DIED"
        await engine.ensure_available()
        assert (await speak(engine))[0] > 0
    finally:
        await engine.close()


async def test_nearly_every_language_says_a_number(engine: EspeakEngine) -> None:
    """A few young languages of espeak-ng have no words for numbers."""
    silent = []
    for voice in engine.voices():
        if "+" not in voice.name and (await speak(engine, "12", voice.name))[0] < 1000:
            silent.append(voice.name)
    assert set(silent) <= {"chr-US-Qaaa-x-west", "cv", "fo", "kaa", "sjn", "xex"}


async def test_speed_and_pitch_change_the_speech(engine: EspeakEngine) -> None:
    async def count(options: SpeechOptions) -> int:
        pieces = [
            piece async for piece in engine.open_stream(options).speak("The evening was long and warm.")
        ]
        return sum(len(piece) for piece in pieces if not isinstance(piece, SpokenWord))

    plain = await count(SpeechOptions())
    assert 0.4 < await count(SpeechOptions(speed=2)) / plain < 0.6
    assert 1.8 < await count(SpeechOptions(speed=0.5)) / plain < 2.2


async def test_variants_differ_and_unknown_ones_are_refused(engine: EspeakEngine) -> None:
    assert engine.open_stream(SpeechOptions(voice="fr-fr+f3")).voice.name == "fr-fr+f3"
    with pytest.raises(Fault) as caught:
        engine.open_stream(SpeechOptions(voice="fr-fr+nobody"))
    assert caught.value.field == "synthesis.voice"


async def test_closing_ends_the_children(engine: EspeakEngine) -> None:
    pids = engine.child_pids
    await engine.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_children_die_with_their_parent() -> None:
    program = (
        "import asyncio, os, signal\n"
        "from parley_tts.engines.espeak import EspeakEngine\n"
        "async def main():\n"
        "    engine = EspeakEngine()\n"
        "    await engine.open()\n"
        "    print(*engine.child_pids, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    pids = [int(word) for word in told.stdout.splitlines()[-1].split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 5
    while any(_is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_is_running(pid) for pid in pids)


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
