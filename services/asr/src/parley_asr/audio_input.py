"""`AudioInput`: what a client streams, to 16 kHz mono. Pure; used by `streaming_call` and `recording_call`.

Output comes in slices of at most 200 ms, so that none takes long to make and its consumer can wait between them.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from parley_asr import faults
from parley_asr.ports import SAMPLE_RATE_HZ
from parley_audio.codecs import open_decoder
from parley_audio.pcm import AudioError, AudioFormat, Samples, sample_count, silence
from parley_audio.resampling import Resampler

CHUNK_MAX_BYTES = 64 << 10
_PACKET_MAX_COUNT = 1000
_GAP_MAX_S = 60
# Clients that count in milliseconds are off by up to one; closer than this is contiguous.
_OFFSET_TOLERANCE_S = 0.001
_SLICES_A_SECOND = 5


class AudioInput:
    """One stream of chunks. Raises Fault (INVALID_ARGUMENT, naming the field) for what it cannot be."""

    def __init__(self, audio_format: AudioFormat, field: str = "audio.packets") -> None:
        """audio_format: a raw encoding or OPUS. field: what faults about the bytes name."""
        self._field = field
        self._format = audio_format
        self._decoder = open_decoder(audio_format)
        self._rate_hz = self._decoder.sample_rate_hz
        self._resampler = Resampler(self._rate_hz, SAMPLE_RATE_HZ)
        self._position = 0  # in samples at the decoder's rate

    def read(self, packets: Sequence[bytes], start_offset_ns: int | None = None) -> Iterator[Samples]:
        """The samples of a chunk, after the silence that lies before it. Empty chunks are fine, empty packets not."""
        if sum(map(len, packets)) > CHUNK_MAX_BYTES:
            raise faults.bad_audio(self._field, f"a chunk holds at most {CHUNK_MAX_BYTES} bytes")
        if len(packets) > _PACKET_MAX_COUNT:
            raise faults.bad_audio(self._field, f"a chunk holds at most {_PACKET_MAX_COUNT} packets")
        if not all(packets):
            raise faults.bad_audio(self._field, "a packet is empty")
        if start_offset_ns is not None:
            yield from self._silence_before(start_offset_ns)
        for packet in self._joined(packets):
            yield from self._resampled(self._decoded(packet))

    def flush(self) -> Samples:
        """The last samples. Nothing can be read afterwards."""
        return _clipped(self._resampler.flush())

    def _joined(self, packets: Sequence[bytes]) -> Sequence[bytes]:
        """Raw packets in one piece, once each is known to hold whole samples; others as they are."""
        if not self._format.is_raw:
            return packets
        frame_bytes = self._format.frame_bytes
        if any(len(packet) % frame_bytes for packet in packets):
            raise faults.bad_audio(
                self._field, f"a packet is not a whole number of {frame_bytes}-byte samples"
            )
        return [b"".join(packets)] if packets else []

    def _decoded(self, packet: bytes) -> Samples:
        try:
            samples = self._decoder.decode(packet)
        except AudioError as error:
            raise faults.bad_audio(self._field, str(error)) from None
        self._position += len(samples)
        return samples

    def _silence_before(self, start_offset_ns: int) -> Iterator[Samples]:
        gap = sample_count(start_offset_ns, self._rate_hz) - self._position
        tolerance = round(self._rate_hz * _OFFSET_TOLERANCE_S)
        if gap < -tolerance:
            raise faults.bad_audio("audio.start_offset", "the chunk begins before the end of the one before")
        if gap > _GAP_MAX_S * self._rate_hz:
            raise faults.bad_audio("audio.start_offset", f"more than {_GAP_MAX_S} s lie before the chunk")
        if gap <= tolerance:
            return
        self._position += gap
        for zeros in silence(gap, self._rate_hz // _SLICES_A_SECOND):
            yield _clipped(self._resampler.push(zeros))

    def _resampled(self, samples: Samples) -> Iterator[Samples]:
        step = self._rate_hz // _SLICES_A_SECOND
        for start in range(0, len(samples), step):
            yield _clipped(self._resampler.push(samples[start : start + step]))


def _clipped(samples: Samples) -> Samples:
    """Filters overshoot, and Opus does; engines are promised [-1, 1]."""
    return np.clip(samples, -1.0, 1.0)
