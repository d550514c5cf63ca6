"""What every voice activity detector must do, over every one that can run here."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from contract.asr_engines.made_models import make_voice_activity_model

from parley_asr.engines.scripted import LevelDetector
from parley_asr.engines.sherpa_voice_activity import SherpaVoiceActivityEngine
from parley_asr.ports import WINDOW_SAMPLE_COUNT, Samples, VoiceActivityEngine
from parley_asr.settings import EMBEDDED_VAD_MODEL_FILE
from parley_servicekit.faults import Fault


def open_level(folder: Path) -> VoiceActivityEngine:
    return LevelDetector()


def open_made(folder: Path) -> VoiceActivityEngine:
    return SherpaVoiceActivityEngine(make_voice_activity_model(folder / "made-vad.onnx"), 2)


def open_embedded(folder: Path) -> VoiceActivityEngine:
    return SherpaVoiceActivityEngine(EMBEDDED_VAD_MODEL_FILE, 2)


OPENERS: list[Callable[[Path], VoiceActivityEngine]] = [open_level, open_made, open_embedded]


@pytest.fixture(params=OPENERS, ids=lambda opener: opener.__name__.removeprefix("open_"))
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VoiceActivityEngine]:
    opened: VoiceActivityEngine = request.param(tmp_path)
    yield opened
    await opened.close()


def silence(window_count: int) -> Samples:
    return np.zeros(window_count * WINDOW_SAMPLE_COUNT, dtype=np.float32)


def voiced(window_count: int) -> Samples:
    """A rough voice: harmonics of 120 Hz, four syllables a second."""
    seconds = np.arange(window_count * WINDOW_SAMPLE_COUNT) / 16_000
    tone = sum(np.sin(2 * np.pi * 120 * harmonic * seconds) / harmonic for harmonic in range(1, 20))
    return (0.2 * tone * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * seconds))).astype(np.float32)


async def test_there_is_an_answer_for_every_window(engine: VoiceActivityEngine) -> None:
    stream = await engine.open_stream(0.5)
    for count in (0, 1, 2, 50):
        assert len(await stream.detect(silence(count))) == count
    stream.close()


async def test_digital_silence_is_not_speech(engine: VoiceActivityEngine) -> None:
    stream = await engine.open_stream(0.5)
    assert not any((await stream.detect(silence(300)))[10:])
    stream.close()


async def test_how_audio_is_cut_does_not_change_the_answers(engine: VoiceActivityEngine) -> None:
    audio = np.concatenate((silence(10), voiced(40), silence(30), voiced(5), silence(5)))
    whole, piecewise = await engine.open_stream(0.5), await engine.open_stream(0.5)
    wanted = await whole.detect(audio)
    answers = []
    for start in range(0, len(audio), WINDOW_SAMPLE_COUNT):
        answers += await piecewise.detect(audio[start : start + WINDOW_SAMPLE_COUNT])
    assert answers == wanted


async def test_streams_do_not_share_what_they_heard(engine: VoiceActivityEngine) -> None:
    first, second = await engine.open_stream(0.5), await engine.open_stream(0.5)
    await first.detect(voiced(40))
    assert not any((await second.detect(silence(40)))[10:])


@pytest.mark.parametrize("opener", [open_level, open_made])
async def test_the_first_window_of_loud_audio_is_reported_as_late_as_declared(
    opener: Callable[[Path], VoiceActivityEngine], tmp_path: Path
) -> None:
    engine = opener(tmp_path)
    stream = await engine.open_stream(0.5)
    loud = np.full(5 * WINDOW_SAMPLE_COUNT, 0.9, dtype=np.float32)
    answers = await stream.detect(np.concatenate((silence(5), loud, silence(5))))
    first = 5 + engine.onset_delay_window_count
    # The made model, like Silero, hears the last 64 samples of the loud audio in the window after it too.
    assert answers[:10] == [index >= first for index in range(10)]
    assert not any(answers[11:])
    await engine.close()


@pytest.mark.parametrize(("threshold", "heard"), [(0.05, True), (0.3, True), (0.6, False), (0.95, False)])
async def test_the_threshold_decides(threshold: float, heard: bool, tmp_path: Path) -> None:
    engine = open_made(tmp_path)
    stream = await engine.open_stream(threshold)
    half_loud = np.full(10 * WINDOW_SAMPLE_COUNT, 0.2, dtype=np.float32)  # probability 0.4
    assert (await stream.detect(half_loud))[-1] is heard
    await engine.close()


async def test_a_closed_detector_fails_typed(tmp_path: Path) -> None:
    engine = open_made(tmp_path)
    stream = await engine.open_stream(0.5)
    await engine.close()
    with pytest.raises(Fault, match="ENGINE_CLOSED"):
        await stream.detect(silence(1))
