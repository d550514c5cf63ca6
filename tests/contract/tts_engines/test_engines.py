"""What `synthesis` relies on, of every engine."""

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from parley_servicekit.faults import Fault, FaultCode
from parley_tts.ports import Samples, SpeechOptions, SpokenWord, SynthesisEngine, SynthesisStream

_TEXT = "Good evening. How are you?"


async def speak(stream: SynthesisStream, text: str = _TEXT) -> tuple[Samples, list[SpokenWord]]:
    pieces: list[Samples] = []
    words = []
    async with aclosing(stream.speak(text)) as made:
        async for piece in made:
            if isinstance(piece, SpokenWord):
                words.append(piece)
            else:
                pieces.append(piece)
    return np.concatenate(pieces), words


async def test_speaks_finite_mono_audio_within_bounds(engine: SynthesisEngine) -> None:
    stream = engine.open_stream(SpeechOptions())
    samples, _ = await speak(stream)
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert np.isfinite(samples).all() and np.abs(samples).max() <= 1
    assert samples.std() > 0.001
    assert 0.2 < len(samples) / stream.voice.sample_rate_hz < 10


async def test_words_come_in_order_and_within_text_and_audio(engine: SynthesisEngine) -> None:
    samples, words = await speak(engine.open_stream(SpeechOptions()))
    assert [word.text_offset for word in words] == sorted(word.text_offset for word in words)
    assert all(
        0 <= word.text_offset < len(_TEXT) and 0 <= word.sample_offset <= len(samples) for word in words
    )


async def test_several_phrases_of_one_stream_and_several_streams(engine: SynthesisEngine) -> None:
    stream = engine.open_stream(SpeechOptions())
    first, _ = await speak(stream)
    second, _ = await speak(stream)
    assert abs(len(first) - len(second)) <= 0.1 * len(first)
    results = []

    async def one(stream: SynthesisStream) -> None:
        results.append((await speak(stream))[0])

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(one(engine.open_stream(SpeechOptions())), name=f"stream {number}")
    assert all(abs(len(samples) - len(first)) <= 0.1 * len(first) for samples in results)


async def test_a_stopped_phrase_frees_the_engine(engine: SynthesisEngine) -> None:
    stream = engine.open_stream(SpeechOptions())
    for _ in range(5):
        made = stream.speak(_TEXT * 5)
        await anext(made)
        await made.aclose()
    async with asyncio.timeout(10):
        samples, _ = await speak(stream)
    assert len(samples)


async def test_a_cancelled_phrase_frees_the_engine(engine: SynthesisEngine) -> None:
    for delay_s in (0, 0.001, 0.003, 0.01):
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(speak(engine.open_stream(SpeechOptions()), _TEXT * 5), name="cancelled")
            await asyncio.sleep(delay_s)
            task.cancel()
    async with asyncio.timeout(10):
        samples, _ = await speak(engine.open_stream(SpeechOptions()))
    assert len(samples)


@pytest.mark.parametrize("text", ["a", "Ω", "12345", "x" * 260, "你好，世界", "a\u0301b", "< & >1", "[[h]]1"])
async def test_odd_text_is_spoken_or_refused_and_kills_nothing(engine: SynthesisEngine, text: str) -> None:
    try:
        await speak(engine.open_stream(SpeechOptions()), text)
    except Fault as fault:
        assert len(text) == 1 or text not in fault.message
    samples, _ = await speak(engine.open_stream(SpeechOptions()))
    assert len(samples)


async def test_unknown_voices_are_refused_by_name_with_bounded_hints(engine: SynthesisEngine) -> None:
    with pytest.raises(Fault) as caught:
        engine.open_stream(SpeechOptions(voice="no such voice " * 9))
    assert caught.value.field == "synthesis.voice"
    assert caught.value.code is FaultCode.INVALID_ARGUMENT
    assert len(caught.value.message) <= 300


@pytest.mark.parametrize("code", ["tlh", "not a language", "e"])
async def test_languages_that_no_voice_speaks_are_refused(engine: SynthesisEngine, code: str) -> None:
    with pytest.raises(Fault) as caught:
        engine.open_stream(SpeechOptions(language_code=code))
    assert caught.value.field == "synthesis.language_code"


async def test_every_voice_can_be_asked_for_by_name_and_language(engine: SynthesisEngine) -> None:
    voices = engine.voices()
    assert 1 <= len(voices) <= 1000
    assert len({voice.name for voice in voices}) == len(voices)
    for voice in voices:
        for code in (*voice.language_codes, ""):
            assert (
                engine.open_stream(SpeechOptions(voice=voice.name, language_code=code)).voice.name
                == voice.name
            )


async def test_ranges_that_capabilities_tell_are_honoured_and_others_refused(engine: SynthesisEngine) -> None:
    capabilities = engine.capabilities
    for field, (lowest, highest) in (("speed", capabilities.speeds), ("pitch", capabilities.pitches)):
        for value in (lowest, highest):
            engine.open_stream(SpeechOptions(**{field: value}))  # type: ignore[arg-type]
        for value in (lowest / 2, highest * 2):
            with pytest.raises(Fault) as caught:
                engine.open_stream(SpeechOptions(**{field: value}))  # type: ignore[arg-type]
            assert caught.value.field == f"synthesis.{field}"


async def test_models_are_told(engine: SynthesisEngine) -> None:
    (model,) = engine.models()
    assert model.name and model.is_loaded and engine.is_available
