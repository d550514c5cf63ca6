"""Who speaks: every synthesiser, voice, accent and variant, split into training and held-out speakers.

Called by the data generator, the evaluation and the voice-activity data. Debian packages: flite; for the held-out
synthesiser festival, festvox-kallpc16k, festvox-kdlpc16k, festvox-us-slt-hts.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from training.asr.espeak import espeak
from training.asr.features import SAMPLE_RATE_HZ

Floats = npt.NDArray[np.float32]

ACCENTS = (
    "en", "en-us", "en-us", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"
)  # fmt: skip
VARIANTS = (
    "", "", "", "Alex", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo", "Jacky",
    "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen", "Reed", "RicishayMax", "RicishayMax2", "Storm", "Tweaky",
    "adam", "anika", "announcer", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed",
    "edward", "edward2", "f1", "f2", "f3", "f5", "grandma", "grandpa", "gustave", "ian", "iven", "iven2", "iven3",
    "john", "kaukovalta", "klatt", "klatt2", "klatt3", "klatt5", "linda", "m1", "m2", "m3", "m4", "m5", "m6", "m8",
    "marcelo", "max", "michel", "miguel", "mike2", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert",
    "sandro", "shelby", "steph", "steph2", "travis", "victor", "whisper",
)  # fmt: skip
HELD_OUT_VARIANTS = (
    "Alicia",
    "f4",
    "m7",
    "klatt4",
    "klatt6",
    "steph3",
    "zac",
    "iven4",
    "RicishayMax3",
    "Mr serious",
)
FLITE_VOICES = ("slt", "rms", "awb", "kal16")
FLITE_F0_HZ = {"slt": 165, "rms": 95, "awb": 130, "kal16": 105}
FESTIVAL_VOICES = ("ked_diphone", "cmu_us_slt_arctic_hts", "kal_diphone")


@dataclass(frozen=True, slots=True)
class Speaker:
    """One way to say a sentence. ``scale`` > 1 shortens the vocal tract (higher, faster), made by resampling."""

    synthesiser: str
    voice: str
    words_per_minute: int
    pitch: int = 50
    pitch_range: int = 50
    word_gap: int = 0
    scale: float = 1.0


def training_speaker(rng: random.Random) -> Speaker:
    """A speaker of the training set: two thirds espeak-ng, one third flite, 85 to 235 words a minute."""
    words_per_minute = round(rng.triangular(85, 235, 165))
    if rng.random() < 0.66:
        variant = rng.choice(VARIANTS)
        voice = rng.choice(ACCENTS) + (f"+{variant}" if variant else "")
        scale = rng.choice([1.0, 1.0, rng.uniform(0.88, 1.14)])
        return _espeak_speaker(voice, words_per_minute, scale, rng)
    scale = rng.choice([1.0, rng.uniform(0.84, 1.2)])
    pitch = rng.randint(20, 80)
    return Speaker("flite", rng.choice(FLITE_VOICES), words_per_minute, pitch=pitch, scale=scale)


def held_out_speaker(rng: random.Random) -> Speaker:
    """An espeak-ng variant that training never heard, any accent."""
    voice = f"{rng.choice(ACCENTS)}+{rng.choice(HELD_OUT_VARIANTS)}"
    return _espeak_speaker(voice, round(rng.triangular(110, 210, 160)), 1.0, rng)


def held_out_synthesiser_speaker(rng: random.Random) -> Speaker:
    """A voice of festival, which training never heard."""
    return Speaker("festival", rng.choice(FESTIVAL_VOICES), rng.randint(140, 180))


def _espeak_speaker(voice: str, words_per_minute: int, scale: float, rng: random.Random) -> Speaker:
    gap = rng.choice([0, 0, 0, 1, 3, 6])
    return Speaker("espeak", voice, words_per_minute, rng.randint(15, 85), rng.randint(20, 90), gap, scale)


def say(text: str, speaker: Speaker) -> Floats:
    """Mono float32 at 16 kHz, trimmed of the synthesiser's own silence, peak 0.5. Raises ValueError for no sound."""
    samples, rate_hz = _SYNTHESISERS[speaker.synthesiser](text, speaker)
    resampled = soxr.resample(samples, rate_hz * speaker.scale, SAMPLE_RATE_HZ, quality="MQ")
    loud = np.flatnonzero(np.abs(resampled) > 0.01 * max(float(np.abs(resampled).max(initial=0.0)), 1e-3))
    if len(loud) == 0:
        raise ValueError(f"{speaker.voice} said nothing")
    trimmed = resampled[max(0, loud[0] - 320) : loud[-1] + 800]
    result: Floats = (trimmed * (0.5 / np.abs(trimmed).max())).astype(np.float32)
    return result


def _espeak(text: str, speaker: Speaker) -> tuple[Floats, int]:
    rate = max(80, round(speaker.words_per_minute / speaker.scale))
    samples = espeak().say(
        text, speaker.voice, words_per_minute=rate, pitch=speaker.pitch, pitch_range=speaker.pitch_range,
        word_gap=speaker.word_gap,
    )  # fmt: skip
    return samples, espeak().sample_rate_hz


def _flite(text: str, speaker: Speaker) -> tuple[Floats, int]:
    stretch = 165.0 / speaker.words_per_minute * speaker.scale
    f0_hz = FLITE_F0_HZ[speaker.voice] * 2.0 ** ((speaker.pitch - 50) / 75.0)
    options = ["--setf", f"duration_stretch={stretch:.3f}", "--setf", f"int_f0_target_mean={f0_hz:.0f}"]
    return _run(["flite", "-voice", speaker.voice, *options, "-t", text, "-o"], "")


def _festival(text: str, speaker: Speaker) -> tuple[Floats, int]:
    stretch = 165.0 / speaker.words_per_minute
    script = f"(begin (voice_{speaker.voice}) (Parameter.set 'Duration_Stretch {stretch:.2f}))"
    return _run(["text2wave", "-eval", script, "-o"], text)


def _run(command: list[str], text: str) -> tuple[Floats, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run(
            [*command, str(path)], input=text.encode(), check=True, timeout=60, stdout=subprocess.DEVNULL
        )
        samples, rate_hz = soundfile.read(path, dtype="float32")
    return samples, rate_hz


_SYNTHESISERS = {"espeak": _espeak, "flite": _flite, "festival": _festival}
