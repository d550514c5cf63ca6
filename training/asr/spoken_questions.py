"""Makes the committed recordings: ``python -m training.asr.spoken_questions``.

The demo's and the tests' spoken questions go to ``tests/support/speech`` (texts in its ``transcripts.json``, which
also keeps them out of the training text); the recogniser's quality gate gets ``tests/quality/recognition``. The
gate's speakers are ones that training never heard, except in its set "held-out sentences".
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from training.asr import acoustics, noises, sentences, voices
from training.asr.features import SAMPLE_RATE_HZ
from training.asr.generate import silence

QUALITY = sentences.ROOT / "tests" / "quality" / "recognition"
# A plain voice: the questions show how the product works, not how far the recogniser's ear reaches (the gate does).
DEMO_SPEAKER = voices.Speaker("espeak", "en-us", 150, pitch=40)
GATE_SETS = {"held-out-sentences": 24, "held-out-voices": 16, "held-out-synthesiser": 9}


def write(path: Path, said: npt.NDArray[np.float32], before: float, after: float, peak_dbfs: float) -> None:
    """One recording: 16 kHz, 16 bits, mono; a faint hiss keeps its silence from being digital."""
    framed = np.concatenate([silence(before), said, silence(after)])
    hiss = noises.coloured(len(framed), np.random.default_rng(len(framed)), 1.0) * np.float32(0.0008)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, acoustics.at_level(framed + hiss, peak_dbfs), SAMPLE_RATE_HZ, subtype="PCM_16")


def write_questions() -> None:
    """The spoken questions."""
    recordings = json.loads(sentences.SPOKEN_QUESTIONS.read_text())["recordings"]
    for recording in recordings:
        path = sentences.SPOKEN_QUESTIONS.parent / recording["file"]
        write(path, voices.say(recording["text"], DEMO_SPEAKER), 0.3, 1.2, -9.0)


def write_gate() -> None:
    """The quality gate's FLAC files and their transcripts."""
    rng = random.Random(2024)
    transcripts: dict[str, dict[str, str]] = {}
    hand_written = rng.sample(sentences.held_out_sentences(), len(sentences.held_out_sentences()))
    for name, count in GATE_SETS.items():
        transcripts[name] = {}
        for number in range(count):
            text = hand_written.pop() if number % 2 else sentences.template_sentence(rng, held_out=True)
            speaker = replace(voices.training_speaker(rng), words_per_minute=rng.randint(130, 190))
            if name == "held-out-voices":
                speaker = voices.held_out_speaker(rng)
            elif name == "held-out-synthesiser":
                speaker = voices.Speaker(
                    "festival", voices.FESTIVAL_VOICES[number % 3], rng.randint(140, 180)
                )
            file = f"{name}-{number:02d}.flac"
            transcripts[name][file] = text
            write(QUALITY / file, voices.say(text, speaker), 0.3, 0.4, rng.uniform(-25.0, -6.0))
    (QUALITY / "transcripts.json").write_text(json.dumps(transcripts, indent=1) + "\n")


if __name__ == "__main__":
    write_questions()
    write_gate()
