"""Speech for the benchmark: recordings cut to exactly the labelled speech, as frames that are ready to be sent.

The labels lie in `speech_labels.json` and were computed from the recordings once: `python -m bench.speech` does it
again. Speech begins with the first and ends with the last 10 ms whose level reaches -34 dBFS. Nothing but digital
silence lies around it, so that where a person stops is known to the sample.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from parley.audio.v1 import audio_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_audio.wav import read_wav

SAMPLE_RATE_HZ = 16_000
FRAME_MS = 20
FRAME_SAMPLE_COUNT = SAMPLE_RATE_HZ * FRAME_MS // 1000
GRID_FRAME_COUNT = 8
"""So many frames (160 ms) are a whole number of the speech detector's windows of 512 samples."""

_RECORDINGS = Path(__file__).parents[1] / "tests" / "support" / "speech"
_LABELS_FILE = Path(__file__).parent / "speech_labels.json"
_BLOCK_SAMPLE_COUNT = SAMPLE_RATE_HZ // 100
_SPEECH_LEVEL = 0.02

PcmSamples = npt.NDArray[np.int16]


def computed_labels() -> dict[str, dict[str, int]]:
    """First sample of speech and one past the last, by recording, from the signal."""
    labels = {}
    for path in sorted(_RECORDINGS.glob("*.wav")):
        samples = _recording(path)
        blocks = (
            samples[: len(samples) // _BLOCK_SAMPLE_COUNT * _BLOCK_SAMPLE_COUNT].astype(np.float64) / 32768
        )
        levels = np.sqrt(np.mean(np.square(blocks.reshape(-1, _BLOCK_SAMPLE_COUNT)), axis=1))
        loud = np.flatnonzero(levels >= _SPEECH_LEVEL)
        onset, offset = int(loud[0]) * _BLOCK_SAMPLE_COUNT, int(loud[-1] + 1) * _BLOCK_SAMPLE_COUNT
        labels[path.stem] = {"onset_sample": onset, "offset_sample": offset}
    return labels


def _read_labels() -> dict[str, dict[str, int]]:
    labels: dict[str, dict[str, int]] = json.loads(_LABELS_FILE.read_text()) if _LABELS_FILE.exists() else {}
    return labels


_LABELS = _read_labels()
CLIP_NAMES: tuple[str, ...] = tuple(sorted(_LABELS))


def clip_sample_count(name: str) -> int:
    """How many samples of speech a clip is."""
    label = _LABELS[name]
    return label["offset_sample"] - label["onset_sample"]


@cache
def clip_frames(name: str, shift_samples: int) -> tuple[bytes, ...]:
    """A clip after `shift_samples` of silence, filled up to whole frames, as serialized ConverseRequests."""
    label = _LABELS[name]
    speech = _recording(_RECORDINGS / f"{name}.wav")[label["onset_sample"] : label["offset_sample"]]
    whole = shift_samples + len(speech)
    padded: PcmSamples = np.zeros(-(-whole // FRAME_SAMPLE_COUNT) * FRAME_SAMPLE_COUNT, dtype=np.int16)
    padded[shift_samples:whole] = speech
    return tuple(_frame(part) for part in padded.reshape(-1, FRAME_SAMPLE_COUNT))


@cache
def silent_frame() -> bytes:
    """20 ms of digital silence, as a serialized ConverseRequest."""
    return _frame(np.zeros(FRAME_SAMPLE_COUNT, dtype=np.int16))


def _frame(samples: PcmSamples) -> bytes:
    chunk = audio_pb2.AudioChunk(packets=[samples.astype("<i2").tobytes()])
    return pb2.ConverseRequest(audio=chunk).SerializeToString()


def _recording(path: Path) -> PcmSamples:
    samples, rate_hz = read_wav(path)
    if rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"{path.name} is not at {SAMPLE_RATE_HZ} Hz")
    whole: PcmSamples = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
    return whole


if __name__ == "__main__":
    _LABELS_FILE.write_text(json.dumps(computed_labels(), indent=1) + "\n")
