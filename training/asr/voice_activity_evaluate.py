"""Measures the voice activity detector through sherpa-onnx: ``python -m training.asr.voice_activity_evaluate MODEL``.

Voices are held out (espeak-ng variants and festival). The decision rule is sherpa-onnx's own, so what is measured is
what the service sees: threshold, least speech and least silence included.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sherpa_onnx

from training.asr import acoustics, noises, voice_activity_data, voices
from training.asr.features import SAMPLE_RATE_HZ
from training.asr.voice_activity_network import SHIFT_SAMPLES, WINDOW_SAMPLES

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
WINDOW_SECONDS = SHIFT_SAMPLES / SAMPLE_RATE_HZ
LEAST_SPEECH_SECONDS, LEAST_SILENCE_SECONDS = 0.1, 0.3


def load(
    model: Path, threshold: float = 0.5, least_speech: float = 0.0, least_silence: float = 0.0
) -> sherpa_onnx.VadModel:
    """The detector inside sherpa-onnx; seconds of speech before it reports, of silence before it stops."""
    silero = sherpa_onnx.SileroVadModelConfig(
        model=str(model), threshold=threshold, min_speech_duration=least_speech, min_silence_duration=least_silence,
        window_size=SHIFT_SAMPLES,
    )  # fmt: skip
    return sherpa_onnx.VadModel.create(sherpa_onnx.VadModelConfig(silero, sample_rate=SAMPLE_RATE_HZ))


def decisions(detector: sherpa_onnx.VadModel, samples: Floats) -> Bools:
    """One decision for every whole window of 512 samples."""
    detector.reset()
    padded = np.pad(
        samples[: len(samples) // SHIFT_SAMPLES * SHIFT_SAMPLES], (0, WINDOW_SAMPLES - SHIFT_SAMPLES)
    )
    starts = range(0, len(padded) - WINDOW_SAMPLES + 1, SHIFT_SAMPLES)
    return np.array([detector.is_speech(padded[start : start + WINDOW_SAMPLES]) for start in starts])


def starts_of(speech: Bools) -> npt.NDArray[np.int64]:
    """Windows in which speech begins."""
    return np.flatnonzero(np.diff(speech.astype(np.int8), prepend=0) == 1)


def on_speech(
    model: Path, threshold: float, who: voice_activity_data.Who, level_dbfs: float, ratio_db: float | None
) -> dict[str, float]:
    """Window errors, onset delays and missed utterances at one level and signal-to-noise ratio."""
    rng = random.Random(f"{level_dbfs}{ratio_db}")
    raw = load(model, threshold)
    used = load(model, threshold, LEAST_SPEECH_SECONDS, LEAST_SILENCE_SECONDS)
    wrong, delays, missed = [], [], 0
    for _ in range(12):
        generator = np.random.default_rng(rng.getrandbits(32))
        clean = voice_activity_data.clean_timeline(rng, who)
        truth = voice_activity_data.speech_windows(clean)
        noisy = clean if ratio_db is None else acoustics.with_noise(clean, generator, ratio_db, ratio_db)
        samples = acoustics.at_level(noisy, level_dbfs)
        wrong.append(np.mean(decisions(raw, samples)[: len(truth)] != truth))
        reported = decisions(used, samples)
        for start in starts_of(truth):
            stop = start + int(np.argmin(np.append(truth[start:], False)))
            if stop - start < 8:
                continue
            heard = np.flatnonzero(reported[start : stop + 3])
            missed += len(heard) == 0
            delays += [heard[0] * WINDOW_SECONDS * 1000] if len(heard) else []
    return {
        "window_error_percent": 100 * float(np.mean(wrong)),
        "onset_delay_ms_median": float(np.median(delays)),
        "onset_delay_ms_p95": float(np.percentile(delays, 95)),
        "missed_percent": 100 * missed / (missed + len(delays)),
    }


def false_starts_per_minute(model: Path, threshold: float, seconds: int = 20) -> dict[str, float]:
    """For every kind of noise, over levels from -60 to -3 dBFS, and for digital silence."""
    used = load(model, threshold, LEAST_SPEECH_SECONDS, LEAST_SILENCE_SECONDS)
    results = {"silence": float(len(starts_of(decisions(used, np.zeros(60 * SAMPLE_RATE_HZ, np.float32)))))}
    for kind, make in noises.KINDS.items():
        found = 0
        for index, level_dbfs in enumerate((-60.0, -40.0, -30.0, -20.0, -10.0, -3.0)):
            samples = make(seconds * SAMPLE_RATE_HZ, np.random.default_rng([77, index]))
            found += len(starts_of(decisions(used, acoustics.at_level(samples, level_dbfs))))
        results[kind] = found / (6 * seconds / 60)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for name, who in (("espeak", voices.held_out_speaker), ("festival", voices.held_out_synthesiser_speaker)):
        for level, ratio in (
            (-10.0, None),
            (-25.0, 20.0),
            (-10.0, 10.0),
            (-25.0, 5.0),
            (-45.0, 10.0),
            (-3.0, 5.0),
        ):
            if name == "festival" and (level, ratio) not in ((-10.0, None), (-25.0, 5.0)):
                continue
            key = f"{name} {level:.0f} dBFS, " + ("clean" if ratio is None else f"{ratio:.0f} dB above noise")
            results[key] = on_speech(options.model, options.threshold, who, level, ratio)
            print(key, {name: round(value, 1) for name, value in results[key].items()}, flush=True)
    results["false starts per minute"] = false_starts_per_minute(options.model, options.threshold)
    print("false starts per minute", results["false starts per minute"])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
