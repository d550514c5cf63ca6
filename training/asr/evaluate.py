"""Measures an exported recogniser as the product runs it: ``python -m training.asr.evaluate FOLDER [--cases N]``.

Streams every clip through sherpa-onnx in 100 ms pieces with 0.66 s of zeros at the end, and prints word error rates
for each condition. Seeds are fixed, so two models hear the same clips.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import numpy.typing as npt

from parley_asr.engines.model_folder import find_model
from parley_asr.engines.sherpa_streaming import SherpaOptions, load_recognizer
from training.asr import acoustics, noises, sentences, voices
from training.asr.features import SAMPLE_RATE_HZ
from training.asr.generate import level_dbfs, silence

Floats = npt.NDArray[np.float32]
Case = tuple[Floats, str]
PIECE_SAMPLES = 1_600
TAIL_SECONDS = 0.66


def load(folder: Path) -> Any:
    """The recogniser as the service loads it."""
    return load_recognizer(find_model(folder), SherpaOptions(folder))


def transcribe(recogniser: Any, samples: Floats) -> str:
    """Text of float32 samples at 16 kHz, streamed."""
    stream = recogniser.create_stream()
    padded = np.concatenate([samples, silence(TAIL_SECONDS)])
    for start in range(0, len(padded), PIECE_SAMPLES):
        stream.accept_waveform(SAMPLE_RATE_HZ, padded[start : start + PIECE_SAMPLES])
        while recogniser.is_ready(stream):
            recogniser.decode_streams([stream])
    stream.input_finished()
    while recogniser.is_ready(stream):
        recogniser.decode_streams([stream])
    return str(recogniser.get_result(stream))


def _plain(text: str, speaker: voices.Speaker, peak_dbfs: float = -9.0) -> Floats:
    said = voices.say(text, speaker)
    return acoustics.at_level(np.concatenate([silence(0.3), said, silence(0.5)]), peak_dbfs)


def _seen_speaker(rng: random.Random) -> voices.Speaker:
    return replace(voices.training_speaker(rng), words_per_minute=round(rng.triangular(120, 200, 160)))


def _noisy(text: str, speaker: voices.Speaker, rng: random.Random) -> Floats:
    generator = np.random.default_rng(rng.getrandbits(32))
    said = np.concatenate([silence(0.3), voices.say(text, speaker), silence(0.5)])
    return acoustics.at_level(acoustics.with_noise(said, generator, 8.0, 25.0), level_dbfs(generator))


def _held_out_text(rng: random.Random) -> str:
    return sentences.template_sentence(rng, held_out=True)


def _hand_written(rng: random.Random) -> str:
    return rng.choice(sentences.held_out_sentences())


def _either(rng: random.Random) -> str:
    return (_held_out_text if rng.random() < 0.5 else _hand_written)(rng)


def _spoken(
    text: Callable[[random.Random], str], who: Callable[[random.Random], voices.Speaker]
) -> Callable[[random.Random], Case]:
    def case(rng: random.Random) -> Case:
        said = text(rng)
        return _plain(said, who(rng)), said

    return case


def _spoken_in_noise(rng: random.Random) -> Case:
    said = _either(rng)
    return _noisy(said, _seen_speaker(rng), rng), said


def _at_rate(low: int, high: int) -> Callable[[random.Random], Case]:
    def case(rng: random.Random) -> Case:
        said = _either(rng)
        return _plain(said, replace(_seen_speaker(rng), words_per_minute=rng.randint(low, high))), said

    return case


def _festival(voice: str) -> Callable[[random.Random], voices.Speaker]:
    return lambda rng: replace(voices.held_out_synthesiser_speaker(rng), voice=voice)


def _product_voice(rng: random.Random) -> Case:
    said = rng.choice(sentences.domain_sentences())
    return _plain(said, voices.Speaker("espeak", "en-us", 165)), said


def _not_speech(rng: random.Random) -> Case:
    generator = np.random.default_rng(rng.getrandbits(32))
    count = rng.randint(2, 6) * SAMPLE_RATE_HZ
    if rng.random() < 0.15:
        return np.zeros(count, np.float32), ""
    return acoustics.at_level(noises.any_noise(count, generator), rng.uniform(-60.0, -3.0)), ""


CONDITIONS: dict[str, tuple[int, Callable[[random.Random], Case]]] = {
    "held-out template sentences": (240, _spoken(_held_out_text, _seen_speaker)),
    "held-out hand-written sentences": (240, _spoken(_hand_written, _seen_speaker)),
    "held-out sentences in noise, 8-25 dB": (160, _spoken_in_noise),
    "held-out voices": (240, _spoken(_either, voices.held_out_speaker)),
    "shuffled seen words": (200, _spoken(sentences.word_string, _seen_speaker)),
    "85-110 words a minute": (100, _at_rate(85, 110)),
    "205-235 words a minute": (100, _at_rate(205, 235)),
    "domain sentences, plain voice": (200, _product_voice),
    "unseen words, character error rate": (60, _spoken(sentences.rare_word, _seen_speaker)),
    "held-out synthesiser, ked": (60, _spoken(_either, _festival("ked_diphone"))),
    "held-out synthesiser, slt": (60, _spoken(_either, _festival("cmu_us_slt_arctic_hts"))),
    "held-out synthesiser, kal": (60, _spoken(_either, _festival("kal_diphone"))),
}


def noise_cases(count: int) -> list[Case]:
    """Clips without speech."""
    rng = random.Random(99)
    return [_not_speech(rng) for _ in range(count)]


def measure(recogniser: Any, share: float, show: int) -> dict[str, float]:
    """Word error rate (percent) of every condition, and the percentage of empty results on clips without speech."""
    results: dict[str, float] = {}
    for name, (count, make) in CONDITIONS.items():
        rng = random.Random(name)
        cases = [make(rng) for _ in range(max(4, round(count * share)))]
        truths, heard = [text for _, text in cases], [transcribe(recogniser, samples) for samples, _ in cases]
        unit = jiwer.cer if "character error" in name else jiwer.wer
        results[name] = 100.0 * float(unit(truths, heard))
        print(f"{results[name]:6.2f}  {name} ({len(cases)})", flush=True)
        wrong = [pair for pair in zip(truths, heard, strict=True) if pair[0] != pair[1]]
        for truth, text in wrong[:show]:
            print(f"          said {truth!r}\n         heard {text!r}")
    texts = [transcribe(recogniser, samples) for samples, _ in noise_cases(round(200 * share) + 1)]
    results["empty on noise and silence"] = 100.0 * sum(not text for text in texts) / len(texts)
    print(
        f"{results['empty on noise and silence']:6.2f}  empty on noise and silence ({len(texts)})", flush=True
    )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="of the cases of each condition")
    parser.add_argument("--show", type=int, default=0, help="wrong transcripts to print for each condition")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = measure(load(options.folder), options.share, options.show)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
