"""`AudioOutput`: a phrase's samples to encoded chunks at the rate asked for, with exact places. Pure.

Called by `synthesis`. Each phrase is resampled on its own, to its exact length, and faded over a few
milliseconds at both ends, so that nothing clicks where phrases meet and no phrase holds back its end until the
next one begins.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from parley_audio.codecs import Packet, open_encoder
from parley_audio.pcm import AudioFormat, Encoding
from parley_audio.resampling import Resampler
from parley_tts.ports import Samples

_FIRST_CHUNK_MS = 40
_CHUNK_MS = 100
_COMPRESSED_CHUNK_MS = 40  # about a millisecond of encoding
_FADE_MS = 3
_OPUS_FRAMES_PER_S = 50


@dataclass(frozen=True, slots=True)
class EncodedAudio:
    """Whole packets and which samples of the stream they stand for, at the output rate."""

    packets: tuple[bytes, ...]
    start_sample: int
    sample_count: int


class AudioOutput:
    """One stream's audio. `next_sample`: where the next pushed sample will lie."""

    def __init__(self, audio_format: AudioFormat) -> None:
        """Raises AudioError for a format that cannot be written."""
        self._encoder = open_encoder(audio_format)
        self.sample_rate_hz = audio_format.sample_rate_hz
        self._has_frames = audio_format.encoding is Encoding.OPUS
        self._pending: list[Samples] = []
        self._pending_count = 0
        is_cheap = audio_format.is_raw or audio_format.encoding is Encoding.WAV
        chunk_ms = _CHUNK_MS if is_cheap else _COMPRESSED_CHUNK_MS
        self._full_chunk_count = chunk_ms * self.sample_rate_hz // 1000
        self._chunk_count = _FIRST_CHUNK_MS * self.sample_rate_hz // 1000
        self._sent_sample = 0
        self.next_sample = 0

    def push(self, samples: Samples) -> Iterator[EncodedAudio]:
        """Append samples at the output rate; what fills chunks comes out."""
        self.next_sample += len(samples)
        while len(samples):
            part = samples[: self._chunk_count - self._pending_count]
            samples = samples[len(part) :]
            self._pending.append(part)
            self._pending_count += len(part)
            if self._pending_count == self._chunk_count:
                yield from self.cut()
                self._chunk_count = self._full_chunk_count

    def silence(self, duration_ms: int) -> Iterator[EncodedAudio]:
        """Append silence."""
        yield from self.push(np.zeros(duration_ms * self.sample_rate_hz // 1000, dtype=np.float32))

    def end_phrase(self) -> Iterator[EncodedAudio]:
        """Let everything out, so that no chunk holds two phrases; fills up the last Opus frame with silence."""
        if self._has_frames:
            frame = self.sample_rate_hz // _OPUS_FRAMES_PER_S
            yield from self.push(np.zeros(-self.next_sample % frame, dtype=np.float32))
        yield from self.cut()

    def cut(self) -> Iterator[EncodedAudio]:
        """Encode what is pending."""
        if self._pending:
            samples = np.concatenate(self._pending)
            self._pending, self._pending_count = [], 0
            yield from self._told(self._encoder.encode(samples))

    def finish(self) -> Iterator[EncodedAudio]:
        """The rest of the stream. Nothing can be pushed afterwards."""
        yield from self.cut()
        yield from self._told(self._encoder.flush())

    @property
    def sent_sample_count(self) -> int:
        """Samples that the packets so far stand for."""
        return self._sent_sample

    def _told(self, packets: list[Packet]) -> Iterator[EncodedAudio]:
        count = sum(packet.sample_count for packet in packets)
        whole = tuple(packet.data for packet in packets if packet.data)
        if whole:
            yield EncodedAudio(whole, self._sent_sample, count)
        self._sent_sample += count


class PhraseShaper:
    """One phrase: gain, faded edges, output rate, exact length."""

    def __init__(self, from_hz: int, to_hz: int, gain: float) -> None:
        self._from_hz, self._to_hz = from_hz, to_hz
        self._gain = np.float32(gain)
        self._resampler = Resampler(from_hz, to_hz)
        fade_count = max(1, _FADE_MS * from_hz // 1000)
        self._rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(fade_count) + 0.5) / fade_count)).astype(
            np.float32
        )
        self._held = np.zeros(0, dtype=np.float32)
        self._in_count = 0
        self._out_count = 0

    def push(self, samples: Samples) -> Samples:
        """The next samples of the voice; all but the last few milliseconds come out, at the output rate."""
        samples = samples * self._gain
        rising = self._rise[self._in_count : self._in_count + len(samples)]
        samples[: len(rising)] *= rising
        self._in_count += len(samples)
        joined = np.concatenate((self._held, samples))
        keep = min(len(self._rise), len(joined))
        self._held = joined[len(joined) - keep :]
        return self._counted(self._resampler.push(joined[: len(joined) - keep]))

    def finish(self) -> Samples:
        """The phrase's end."""
        fall = self._rise[::-1][len(self._rise) - len(self._held) :]
        rest = np.concatenate((self._resampler.push(self._held * fall), self._resampler.flush()))
        wanted = self.output_count(self._in_count) - self._out_count
        if len(rest) < wanted:
            rest = np.concatenate((rest, np.zeros(wanted - len(rest), dtype=np.float32)))
        return self._counted(rest[:wanted])

    def output_count(self, voice_sample_count: int) -> int:
        """Samples at the output rate for so many at the voice's rate."""
        return -(-voice_sample_count * self._to_hz // self._from_hz)

    def _counted(self, samples: Samples) -> Samples:
        self._out_count += len(samples)
        return samples
