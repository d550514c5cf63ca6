"""Quality gates of the committed voice activity detector, through sherpa-onnx's own Silero code and decision rule."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sherpa_onnx
import soundfile

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "services/asr/src/parley_asr/models/parley-vad.onnx"
QUESTIONS = ROOT / "tests/support/speech"
RECORDINGS = Path(__file__).parent / "recognition"
RATE_HZ = 16_000
WINDOW = 512
Floats = npt.NDArray[np.float32]


def config() -> Any:
    silero = sherpa_onnx.SileroVadModelConfig(
        model=str(MODEL), threshold=0.5, min_speech_duration=0.1, min_silence_duration=0.3, window_size=WINDOW
    )
    return sherpa_onnx.VadModelConfig(silero, sample_rate=RATE_HZ)


@pytest.fixture(scope="module")
def detector() -> Any:
    return sherpa_onnx.VadModel.create(config())


def decisions(detector: Any, samples: Floats) -> list[bool]:
    """One decision for every 32 ms; sherpa-onnx wants 576 samples of which 64 belong to the next window."""
    detector.reset()
    count = (len(samples) - 64) // WINDOW
    return [detector.is_speech(samples[WINDOW * index : WINDOW * index + 576]) for index in range(count)]


def read(path: Path) -> Floats:
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == RATE_HZ
    return np.asarray(samples, np.float32)


def unvoiced_sounds() -> dict[str, Floats]:
    generator = np.random.default_rng(8)
    seconds = np.arange(10 * RATE_HZ) / RATE_HZ
    white = generator.standard_normal(len(seconds))
    sounds = {
        "digital silence": 0 * white,
        "hum": np.sin(2 * np.pi * 50 * seconds) + 0.3 * np.sin(2 * np.pi * 250 * seconds),
        "clicks": np.where(np.arange(len(seconds)) % 9_000 < 80, white, 0.0),
        "breathing": white * np.maximum(0, np.sin(2 * np.pi * 0.3 * seconds)) * 0.3,
        "white": 0.4 * white,
    }
    levels = {
        f"{name} {level} dBFS": (sound, level) for name, sound in sounds.items() for level in (-60, -35, -10)
    }
    return {name: (sound * 10 ** (level / 20)).astype(np.float32) for name, (sound, level) in levels.items()}


@pytest.mark.parametrize("name", unvoiced_sounds())
def test_it_does_not_fire_on_silence_and_noise(detector: Any, name: str) -> None:
    assert not any(decisions(detector, unvoiced_sounds()[name]))


@pytest.mark.parametrize("peak_dbfs", [-45, -25, -3])
def test_it_finds_every_spoken_question_soon_and_lets_go_after_it(detector: Any, peak_dbfs: int) -> None:
    """The recordings hold 0.3 s of silence before and 1.2 s after the voice."""
    for recording in json.loads((QUESTIONS / "transcripts.json").read_text())["recordings"]:
        samples = read(QUESTIONS / recording["file"])
        level = np.float32(10 ** (peak_dbfs / 20) / np.abs(samples).max())
        speech = np.flatnonzero(decisions(detector, samples * level))
        first_ms, last_ms = 32 * speech[0], 32 * (speech[-1] + 1)
        voice_end_ms = 1000 * len(samples) / RATE_HZ - 1200
        assert 300 <= first_ms <= 300 + 320, recording["file"]
        assert voice_end_ms - 150 <= last_ms <= voice_end_ms + 600, recording["file"]


def test_it_holds_in_noise_five_decibels_below_the_voice(detector: Any) -> None:
    generator = np.random.default_rng(9)
    for path in sorted(RECORDINGS.glob("held-out-voices-*.flac")):
        samples = read(path)
        voice_rms = np.sqrt(np.mean(samples[np.abs(samples) > 0.02 * np.abs(samples).max()] ** 2))
        noise = generator.standard_normal(len(samples)) * voice_rms * 10 ** (-5 / 20)
        speech = decisions(detector, np.clip(samples + noise, -1, 1).astype(np.float32))
        assert any(speech[:32]), path.name
        assert not any(speech[:6]), path.name


def test_the_detector_with_its_queue_cuts_the_same_speech_out() -> None:
    detector = sherpa_onnx.VoiceActivityDetector(config(), buffer_size_in_seconds=30)
    samples = read(QUESTIONS / "question.wav")
    for start in range(0, len(samples), 1_600):
        detector.accept_waveform(samples[start : start + 1_600])
    detector.flush()
    assert not detector.empty()
    segment = detector.front
    assert 0 <= segment.start <= 0.4 * RATE_HZ
    assert 0.7 * RATE_HZ <= len(segment.samples) <= len(samples)
