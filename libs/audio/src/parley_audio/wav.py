"""WAV files through libsndfile: whole files in, streamed files out. For the command line and tests.

Reads whatever libsndfile does (WAV of every sample type, FLAC, AIFF, Ogg); `files` reads more and bounds time
too.
"""

import io
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import soundfile

from parley_audio.pcm import AudioError, Samples

_BLOCK_FRAME_COUNT = 65_536


def read_wav(source: Path | bytes, max_duration_ms: int = 3_600_000) -> tuple[Samples, int]:
    """The file's samples (mono: the mean of its channels) and their rate in Hz.

    AudioError when it cannot be read or lasts longer than `max_duration_ms`; OSError when there is no such
    file.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        return _read(stream, max_duration_ms)


def write_wav(target: Path, samples: Samples, sample_rate_hz: int) -> None:
    """Write mono 16-bit WAV."""
    with WavWriter(target, sample_rate_hz) as writer:
        writer.write(samples)


class WavWriter:
    """Writes mono 16-bit WAV piece by piece; the header is right once closed."""

    def __init__(self, target: Path, sample_rate_hz: int) -> None:
        """OSError when `target` cannot be written."""
        self._stream = target.open("wb")
        self._file: Any = soundfile.SoundFile(
            self._stream, "w", samplerate=sample_rate_hz, channels=1, format="WAV", subtype="PCM_16"
        )

    def write(self, samples: Samples) -> None:
        """Append mono samples, clipped to ±1."""
        self._file.write(np.clip(samples, -1.0, 1.0))

    def close(self) -> None:
        """Complete the header. May be called again."""
        self._file.close()
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read(stream: BinaryIO, max_duration_ms: int) -> tuple[Samples, int]:
    # libsndfile reports what it dislikes as its own error, RuntimeError, TypeError or ValueError.
    try:
        with soundfile.SoundFile(stream) as file:
            rate_hz = int(file.samplerate)
            limit = max_duration_ms * rate_hz // 1000
            blocks: list[Samples] = []
            count = 0
            # The header's length is not believed: blocks keep memory to what the file really holds.
            while len(block := file.read(_BLOCK_FRAME_COUNT, dtype="float32", always_2d=True)):
                count += len(block)
                if count > limit:
                    raise AudioError(f"longer than {max_duration_ms} ms")
                blocks.append(np.nan_to_num(block.mean(axis=1), nan=0.0, posinf=1.0, neginf=-1.0))
    except AudioError:
        raise
    except (RuntimeError, TypeError, ValueError):
        raise AudioError("not a sound file that can be read") from None
    samples = np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)
    return np.clip(samples, -1.0, 1.0), rate_hz
