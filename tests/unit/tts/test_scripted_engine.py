"""The script decides when a phrase sounds, stalls or fails."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from parley_servicekit.faults import Fault
from parley_tts.engines.scripted import ScriptedEngine, SpeechScript
from parley_tts.ports import SpeechOptions, SpokenWord
from support.virtual_time import VirtualTimeLoop


def in_virtual_time(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(work())


async def spoken(engine: ScriptedEngine, text: str) -> list[tuple[float, int]]:
    """When each piece of audio came, in ms from the beginning, and how many samples it was."""
    loop = asyncio.get_running_loop()
    began_at_s = loop.time()
    stream = engine.open_stream(SpeechOptions())
    return [
        (round((loop.time() - began_at_s) * 1000), len(piece))
        async for piece in stream.speak(text)
        if not isinstance(piece, SpokenWord)
    ]


def test_a_phrase_has_the_delay_of_its_own_and_others_the_common_one() -> None:
    script = SpeechScript.model_validate(
        {"first_audio_delay_ms": 50, "phrases": [{"when_spoken": "ANSWER ONE", "first_audio_delay_ms": 120}]}
    )

    async def work() -> None:
        engine = ScriptedEngine(script)
        assert (await spoken(engine, "answer one."))[0][0] == 120
        assert (await spoken(engine, "answer two."))[0][0] == 50

    in_virtual_time(work)


def test_a_stall_is_made_up_for_by_nothing_and_loses_nothing() -> None:
    script = SpeechScript.model_validate(
        {
            "sample_rate_hertz": 8000,
            "ms_per_character": 100,
            "failures": [{"phrase": 2, "after_ms": 250, "kind": "stall", "stall_ms": 900}],
        }
    )

    async def work() -> None:
        engine = ScriptedEngine(script)
        whole = await spoken(engine, "five.")
        stalled = await spoken(engine, "five.")
        assert sum(count for _, count in whole) == sum(count for _, count in stalled) == 4000
        assert [at_ms for at_ms, _ in whole] == [0] * 5
        assert [at_ms for at_ms, _ in stalled] == [0, 0, 0, 900, 900, 900]
        assert engine.running_count == 0

    in_virtual_time(work)


def test_a_failing_phrase_gives_what_comes_before_and_then_fails() -> None:
    script = SpeechScript.model_validate({"failures": [{"phrase": 1, "after_ms": 100, "kind": "failed"}]})

    async def work() -> None:
        engine = ScriptedEngine(script)
        pieces = []
        with pytest.raises(Fault):
            async for piece in engine.open_stream(SpeechOptions()).speak("a longer phrase"):
                pieces.append(piece)
        assert len(pieces) == 1
        assert engine.running_count == 0

    in_virtual_time(work)
