"""OPUS, OGG_OPUS and MP3 through PyAV (FFmpeg's libraries). Opened by `codecs`."""

from typing import Any, cast

import av
import numpy as np

from parley_audio.codecs import Packet
from parley_audio.pcm import AudioError, Encoding, Samples

OPUS_DECODED_HZ = 48_000
# The longest: 120 ms in six frames of at most 1275 bytes each (RFC 6716, 3.1), with room for padding.
_OPUS_PACKET_MAX_BYTES = 8192
_OPUS_PACKETS_PER_S = 50


class OpusDecoder:
    """Raw Opus packets to 48 kHz, whatever rate and channels they were made with."""

    def __init__(self) -> None:
        self.sample_rate_hz = OPUS_DECODED_HZ
        # libopus mixes stereo packets down by itself when asked for one channel.
        self._codec: Any = av.CodecContext.create("libopus", "r")
        self._codec.layout = "mono"

    def decode(self, packet: bytes) -> Samples:
        """One packet of 2.5 to 120 ms."""
        # To FFmpeg an empty packet is the end of the stream, after which it takes no more.
        if not 0 < len(packet) <= _OPUS_PACKET_MAX_BYTES:
            raise AudioError(f"an Opus packet has 1 to {_OPUS_PACKET_MAX_BYTES} bytes")
        try:
            frames = self._codec.decode(av.Packet(packet))
        except av.FFmpegError:
            raise AudioError("not an Opus packet") from None
        return _mono([frame.to_ndarray() for frame in frames])


class OpusEncoder:
    """Samples to raw Opus packets of 20 ms, tuned for speech."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._codec: Any = av.CodecContext.create("libopus", "w")
        self._codec.sample_rate = sample_rate_hz
        self._codec.layout = "mono"
        self._codec.format = "flt"
        self._codec.options = {"frame_duration": "20", "application": "voip"}
        self._codec.open()
        self._rate_hz = sample_rate_hz
        self._frame_sample_count = sample_rate_hz // _OPUS_PACKETS_PER_S
        self._pending = np.zeros(0, dtype=np.float32)

    def encode(self, samples: Samples) -> list[Packet]:
        """Every full 20 ms."""
        signal = np.concatenate((self._pending, samples))
        size = self._frame_sample_count
        full_count = len(signal) // size
        self._pending = signal[full_count * size :]
        return [self._packet(signal[at * size : (at + 1) * size]) for at in range(full_count)]

    def flush(self) -> list[Packet]:
        """The last, partial 20 ms, filled up with silence."""
        count = len(self._pending)
        if count == 0:
            return []
        filled = np.pad(self._pending, (0, self._frame_sample_count - count))
        self._pending = self._pending[:0]
        return [Packet(self._packet(filled).data, count)]

    def _packet(self, samples: Samples) -> Packet:
        encoded = self._codec.encode(_frame(samples, self._rate_hz))
        return Packet(b"".join(bytes(packet) for packet in encoded), len(samples))


class ContainerEncoder:
    """Samples to a stream of Ogg pages with Opus, or of MP3 frames, written as it grows.

    The codec looks ahead, so `sample_count` of a packet is what was fed since the packet before.
    """

    def __init__(self, encoding: Encoding, sample_rate_hz: int) -> None:
        is_mp3 = encoding is Encoding.MP3
        self._sink = _Sink()
        # No headers that need the file's end, and pages of 100 ms instead of a second.
        options = {"write_xing": "0", "id3v2_version": "0"} if is_mp3 else {"page_duration": "100000"}
        self._container: Any = av.open(
            self._sink,
            mode="w",
            format="mp3" if is_mp3 else "ogg",
            container_options=options | {"flush_packets": "1"},
        )
        codec = "libmp3lame" if is_mp3 else "libopus"
        self._stream = cast(av.AudioStream, self._container.add_stream(codec, rate=sample_rate_hz))
        self._stream.layout = "mono"
        self._rate_hz = sample_rate_hz
        self._fed_count = 0
        self._told_count = 0

    def encode(self, samples: Samples) -> list[Packet]:
        """What the container has written; often nothing, then several frames at once."""
        if len(samples) == 0:
            return []
        frame = _frame(samples, self._rate_hz)
        frame.pts = self._fed_count
        self._fed_count += len(samples)
        self._container.mux(self._stream.encode(frame))
        return self._written()

    def flush(self) -> list[Packet]:
        """The end of the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._written()

    def _written(self) -> list[Packet]:
        data = self._sink.take()
        if not data:
            return []
        packet = Packet(data, self._fed_count - self._told_count)
        self._told_count = self._fed_count
        return [packet]


class _Sink:
    """What FFmpeg writes to: no seeking, so that nothing already sent needs to change."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._written)
        self._written.clear()
        return data


def _frame(samples: Samples, rate_hz: int) -> Any:
    contiguous = np.ascontiguousarray(np.clip(samples, -1.0, 1.0), dtype=np.float32)
    frame = av.AudioFrame.from_ndarray(contiguous[np.newaxis, :], format="flt", layout="mono")
    frame.sample_rate = rate_hz
    return frame


def _mono(frames: list[Any]) -> Samples:
    """Frames of 16-bit samples, shape (1, sample_count) each."""
    if not frames:
        return np.zeros(0, dtype=np.float32)
    samples: Samples = np.concatenate(frames, axis=1)[0].astype(np.float32) / np.float32(32768)
    return samples
