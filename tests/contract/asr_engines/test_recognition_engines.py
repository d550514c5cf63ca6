"""What every recognition engine must do, over every engine that can run here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from contract.asr_engines.made_models import make_ctc, make_transducer

from parley_asr.engines.scripted import Script, ScriptedEngine
from parley_asr.engines.sherpa_streaming import SherpaOptions, SherpaStreamingEngine
from parley_asr.ports import SAMPLE_RATE_HZ, Hypothesis, RecognitionEngine, Samples, StreamRequest
from parley_asr.settings import EMBEDDED_MODEL_FOLDER
from parley_servicekit.faults import Fault, FaultCode


async def open_scripted(folder: Path) -> RecognitionEngine:
    return ScriptedEngine(Script.model_validate({"utterances": [{"text": "one two three"}]}))


async def open_made_ctc(folder: Path) -> RecognitionEngine:
    return await SherpaStreamingEngine.open(SherpaOptions(make_ctc(folder), language_codes=("en",)))


async def open_made_transducer(folder: Path) -> RecognitionEngine:
    return await SherpaStreamingEngine.open(SherpaOptions(make_transducer(folder), batch_max_count=3))


async def open_embedded(folder: Path) -> RecognitionEngine:
    return await SherpaStreamingEngine.open(SherpaOptions(EMBEDDED_MODEL_FOLDER, language_codes=("en",)))


ENGINES: list[Callable[[Path], Awaitable[RecognitionEngine]]] = [
    open_scripted,
    open_made_ctc,
    open_made_transducer,
    open_embedded,
]


@pytest.fixture(params=ENGINES, ids=lambda opener: opener.__name__.removeprefix("open_"))
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RecognitionEngine]:
    opened = await request.param(tmp_path)
    yield opened
    await opened.close()


def noise(duration_ms: int, seed: int = 0) -> Samples:
    count = duration_ms * SAMPLE_RATE_HZ // 1000
    return (np.random.default_rng(seed).standard_normal(count) * 0.1).astype(np.float32)


async def understood(engine: RecognitionEngine, samples: Samples, chunk_sample_count: int) -> Hypothesis:
    stream = await engine.open_stream(StreamRequest())
    for start in range(0, len(samples), chunk_sample_count):
        await stream.decode(samples[start : start + chunk_sample_count])
    hypothesis = await stream.finish()
    stream.close()
    return hypothesis


async def test_it_says_what_it_is(engine: RecognitionEngine) -> None:
    capabilities = engine.capabilities
    assert capabilities.name and capabilities.description and capabilities.is_streaming
    assert capabilities.size_bytes >= 0


async def test_how_audio_is_cut_does_not_change_what_is_understood(engine: RecognitionEngine) -> None:
    samples = noise(2000)
    wanted = await understood(engine, samples, len(samples))
    for chunk_sample_count in (160, 1601, 8000):
        assert await understood(engine, samples, chunk_sample_count) == wanted


async def test_streams_decoded_together_understand_the_same_as_alone(engine: RecognitionEngine) -> None:
    recordings = [noise(500 + 300 * index, seed=index) for index in range(7)]
    alone = [await understood(engine, samples, 1600) for samples in recordings]
    async with asyncio.TaskGroup() as tasks:
        together = [
            tasks.create_task(understood(engine, samples, 1600), name=f"stream-{index}")
            for index, samples in enumerate(recordings)
        ]
    assert [task.result() for task in together] == alone


async def test_a_text_grows_while_audio_comes(engine: RecognitionEngine) -> None:
    stream = await engine.open_stream(StreamRequest())
    texts = [await stream.decode(noise(500, seed=seed)) for seed in range(4)]
    assert all(isinstance(text, str) for text in texts)
    final = await stream.finish()
    assert len(final.text) >= len(texts[-1])
    stream.close()


@pytest.mark.parametrize("count", [0, 1, 16, 511])
async def test_next_to_no_audio_is_understood_as_something(engine: RecognitionEngine, count: int) -> None:
    hypothesis = await understood(engine, noise(100)[:count], 1600)
    assert isinstance(hypothesis.text, str)


async def test_words_are_the_text_and_lie_in_order_within_the_audio(engine: RecognitionEngine) -> None:
    samples = noise(3000)
    hypothesis = await understood(engine, samples, 1600)
    assert " ".join(word.text for word in hypothesis.words) == hypothesis.text
    starts = [word.start_sample for word in hypothesis.words]
    assert starts == sorted(starts)
    for word in hypothesis.words:
        assert 0 <= word.start_sample <= word.end_sample <= len(samples) + SAMPLE_RATE_HZ


@pytest.mark.parametrize("opener", [open_scripted, open_made_ctc, open_made_transducer])
async def test_the_made_engines_do_understand_words(
    opener: Callable[[Path], Awaitable[RecognitionEngine]], tmp_path: Path
) -> None:
    engine = await opener(tmp_path)
    assert len((await understood(engine, noise(3000), 1600)).words) >= 3
    await engine.close()


async def test_a_cancelled_stream_leaves_the_others_alone(engine: RecognitionEngine) -> None:
    samples = noise(1000)
    wanted = await understood(engine, samples, 1600)
    abandoned = await engine.open_stream(StreamRequest())
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(abandoned.decode(noise(60_000)), name="abandoned")
        other = tasks.create_task(understood(engine, samples, 1600), name="other")
        await asyncio.sleep(0)
        call.cancel()
    abandoned.close()
    abandoned.close()
    assert other.result() == wanted


async def test_a_minute_in_one_call_does_not_hold_up_a_short_one(engine: RecognitionEngine) -> None:
    long, short = await engine.open_stream(StreamRequest()), await engine.open_stream(StreamRequest())
    async with asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(long.decode(noise(60_000)), name="long")
        await asyncio.sleep(0)
        await short.decode(noise(300))
        assert not slow.done() or isinstance(engine, ScriptedEngine)
    long.close()
    short.close()


@pytest.mark.parametrize("bad", ["nan", "int16", "two rows", "strided"])
@pytest.mark.parametrize("opener", [open_made_ctc, open_made_transducer])
async def test_what_would_end_the_process_is_refused_before_it_gets_there(
    opener: Callable[[Path], Awaitable[RecognitionEngine]], bad: str, tmp_path: Path
) -> None:
    engine = await opener(tmp_path)
    refused: dict[str, npt.NDArray[Any]] = {
        "nan": np.full(160, np.nan, dtype=np.float32),
        "int16": np.zeros(160, dtype=np.int16),
        "two rows": np.zeros((2, 160), dtype=np.float32),
        "strided": np.zeros(320, dtype=np.float32)[::2],
    }
    stream = await engine.open_stream(StreamRequest())
    with pytest.raises(ValueError, match="samples must be"):
        await stream.decode(refused[bad])
    stream.close()
    await engine.close()


async def test_hot_words_are_refused_where_the_library_would_end_the_process(tmp_path: Path) -> None:
    engine = await open_made_ctc(tmp_path)
    with pytest.raises(Fault) as refused:
        await engine.open_stream(StreamRequest(hot_words=("parley",)))
    assert refused.value.field == "recognition.hot_words"
    await engine.close()


async def test_a_closed_engine_fails_what_waits_and_what_comes(tmp_path: Path) -> None:
    engine = await open_made_ctc(tmp_path)
    waiting, late = await engine.open_stream(StreamRequest()), await engine.open_stream(StreamRequest())

    async def decode() -> FaultCode | None:
        try:
            await waiting.decode(noise(600_000))
        except Fault as fault:
            return fault.code
        return None

    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(decode(), name="waiting")
        await asyncio.sleep(0)
        await engine.close()
    assert call.result() is FaultCode.UNAVAILABLE
    with pytest.raises(Fault, match="ENGINE_CLOSED"):
        await late.decode(noise(100))
