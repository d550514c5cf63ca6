"""`InputTimeline`: which input audio arrived when, and whether it is what the format says. Pure; called by the session.

The gateway does not decode: durations come from byte counts, and of Opus from the packet's first byte.
"""

from collections import deque
from collections.abc import Sequence

from parley_gateway.ports import Audio, AudioEncoding, AudioFormat
from parley_servicekit.faults import Fault

CHUNK_MAX_BYTES = 64 * 1024
PACKET_MAX_COUNT = 1000
GAP_MAX_MS = 60_000.0
# Enough to look back over the longest end of silence (10 s), in frames of 10 ms or more.
_ARRIVAL_KEPT_MS = 12_000.0
_ARRIVAL_MAX_COUNT = 1200
_SAMPLE_BYTES = {
    AudioEncoding.PCM_S16LE: 2,
    AudioEncoding.PCM_F32LE: 4,
    AudioEncoding.MULAW: 1,
    AudioEncoding.ALAW: 1,
}
# RFC 6716 section 3.1, table 2: frame sizes in ms by configuration number (SILK, hybrid, CELT).
_OPUS_FRAME_MS = (10.0, 20.0, 40.0, 60.0) * 3 + (10.0, 20.0) * 2 + (2.5, 5.0, 10.0, 20.0) * 4


class InputTimeline:
    """Offsets and arrival times of one session's input."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=_ARRIVAL_MAX_COUNT)
        self.end_offset_ms = 0.0

    def take(self, packets: Sequence[bytes], start_offset_ms: float | None, at_ms: float) -> Audio:
        """Check and place the packets of one chunk. Raises Fault INVALID_AUDIO naming the field."""
        if not packets or not all(packets):
            raise _invalid("audio.packets", "audio packets must not be empty")
        if sum(len(packet) for packet in packets) > CHUNK_MAX_BYTES:
            raise _invalid("audio.packets", f"a chunk of audio holds at most {CHUNK_MAX_BYTES} bytes")
        if len(packets) > PACKET_MAX_COUNT:
            raise _invalid("audio.packets", f"a chunk of audio holds at most {PACKET_MAX_COUNT} packets")
        duration_ms = sum(self._duration_ms(packet) for packet in packets)
        start_ms = self.end_offset_ms if start_offset_ms is None else start_offset_ms
        # Clients round offsets to their own clock's ticks; up to a millisecond is contiguous.
        if start_ms < self.end_offset_ms - 1.0:
            raise _invalid("audio.start_offset", "audio must not go back")
        if start_ms > self.end_offset_ms + GAP_MAX_MS:
            raise _invalid("audio.start_offset", "a gap in the audio is at most 60 s")
        if start_ms <= self.end_offset_ms + 1.0:
            start_ms = self.end_offset_ms
        self.end_offset_ms = start_ms + duration_ms
        self._arrivals.append((self.end_offset_ms, at_ms))
        while self._arrivals[0][0] < self.end_offset_ms - _ARRIVAL_KEPT_MS:
            self._arrivals.popleft()
        return Audio(packets, start_ms, duration_ms)

    def arrived_at_ms(self, offset_ms: float) -> float | None:
        """When the sample at offset_ms arrived; None when nothing of it is remembered."""
        found: float | None = None
        for end_offset_ms, at_ms in reversed(self._arrivals):
            if end_offset_ms < offset_ms:
                break
            found = at_ms
        return found

    def _duration_ms(self, packet: bytes) -> float:
        if self._format.encoding is AudioEncoding.OPUS:
            return opus_duration_ms(packet)
        frame_bytes = _SAMPLE_BYTES[self._format.encoding] * self._format.channel_count
        if len(packet) % frame_bytes:
            raise _invalid("audio.packets", "a packet of audio must hold whole samples of all channels")
        return len(packet) // frame_bytes * 1000 / self._format.sample_rate_hz


def opus_duration_ms(packet: bytes) -> float:
    """How long an Opus packet plays, from its table-of-contents byte (RFC 6716 section 3.1). Raises Fault."""
    contents = packet[0]
    frame_ms = _OPUS_FRAME_MS[contents >> 3]
    code = contents & 3
    if code == 3:
        if len(packet) < 2:
            raise _invalid("audio.packets", "an Opus packet is cut short")
        frame_count = packet[1] & 0x3F
    else:
        frame_count = 1 if code == 0 else 2
    if not 0 < frame_ms * frame_count <= 120:
        raise _invalid("audio.packets", "an Opus packet plays at most 120 ms")
    return frame_ms * frame_count


def _invalid(field: str, message: str) -> Fault:
    return Fault.caller("INVALID_AUDIO", message, field=field)
