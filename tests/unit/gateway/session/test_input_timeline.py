"""`InputTimeline`: offsets, gaps, durations of every encoding without decoding, and when samples arrived."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_gateway.ports import AudioEncoding, AudioFormat
from parley_gateway.session.input_timeline import CHUNK_MAX_BYTES, InputTimeline, opus_duration_ms
from parley_servicekit.faults import Fault

PCM = AudioFormat(AudioEncoding.PCM_S16LE, 16_000)
FRAME = bytes(640)


def opus_packets(frame_ms: str, application: str) -> list[bytes]:
    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format = 48_000, "mono", "flt"
    codec.time_base = Fraction(1, 48_000)
    codec.options = {"frame_duration": frame_ms, "application": application}
    codec.open()
    fifo = av.AudioFifo()
    tone = np.sin(np.arange(48_000, dtype=np.float32) / 20).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(tone, format="flt", layout="mono")
    frame.sample_rate, frame.pts = 48_000, 0
    fifo.write(frame)
    packets: list[bytes] = []
    while (piece := fifo.read(codec.frame_size)) is not None:
        packets += [bytes(packet) for packet in codec.encode(piece)]
    return packets


@pytest.mark.parametrize("application", ["voip", "audio", "lowdelay"])
@pytest.mark.parametrize("frame_ms", ["2.5", "5", "10", "20", "40", "60", "80", "100", "120"])
def test_an_opus_packet_plays_as_long_as_it_was_encoded(frame_ms: str, application: str) -> None:
    packets = opus_packets(frame_ms, application)
    assert packets
    assert {opus_duration_ms(packet) for packet in packets} == {float(frame_ms)}


@pytest.mark.parametrize(
    "packet", [b"\x03", b"\x1b\x00", b"\x1b\x30"], ids=["cut short", "no frames", "48 long frames"]
)
def test_an_impossible_opus_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(Fault) as refusal:
        opus_duration_ms(packet)
    assert refusal.value.field == "audio.packets"


@given(st.binary(min_size=1, max_size=10))
def test_any_opus_packet_is_refused_or_plays_up_to_120_ms(packet: bytes) -> None:
    try:
        duration_ms = opus_duration_ms(packet)
    except Fault as fault:
        assert fault.reason == "INVALID_AUDIO"
    else:
        assert 0 < duration_ms <= 120


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "channel_count", "packet", "duration_ms"),
    [
        (AudioEncoding.PCM_S16LE, 16_000, 1, bytes(640), 20.0),
        (AudioEncoding.PCM_S16LE, 48_000, 2, bytes(3840), 20.0),
        (AudioEncoding.PCM_F32LE, 44_100, 1, bytes(441 * 4), 10.0),
        (AudioEncoding.MULAW, 8_000, 1, bytes(160), 20.0),
        (AudioEncoding.ALAW, 8_000, 2, bytes(320), 20.0),
    ],
)
def test_durations_come_from_byte_counts(
    encoding: AudioEncoding, rate_hz: int, channel_count: int, packet: bytes, duration_ms: float
) -> None:
    audio = InputTimeline(AudioFormat(encoding, rate_hz, channel_count)).take((packet, packet), None, 0.0)
    assert audio.duration_ms == 2 * duration_ms


def test_audio_without_offsets_is_contiguous() -> None:
    timeline = InputTimeline(PCM)
    assert [timeline.take((FRAME,), None, 0.0).start_offset_ms for _ in range(3)] == [0.0, 20.0, 40.0]


def test_a_gap_is_kept_and_what_is_off_by_less_than_a_millisecond_is_none() -> None:
    timeline = InputTimeline(PCM)
    timeline.take((FRAME,), 0.0, 0.0)
    assert timeline.take((FRAME,), 20.9, 0.0).start_offset_ms == 20.0
    assert timeline.take((FRAME,), 39.1, 0.0).start_offset_ms == 40.0
    assert timeline.take((FRAME,), 5000.0, 0.0).start_offset_ms == 5000.0
    assert timeline.end_offset_ms == 5020.0


@pytest.mark.parametrize("start_ms", [18.0, -5.0, 60_021.0])
def test_going_back_and_gaps_beyond_a_minute_are_refused_by_name_and_change_nothing(start_ms: float) -> None:
    timeline = InputTimeline(PCM)
    timeline.take((FRAME,), None, 0.0)
    with pytest.raises(Fault) as refusal:
        timeline.take((FRAME,), start_ms, 0.0)
    assert refusal.value.field == "audio.start_offset"
    assert timeline.end_offset_ms == 20.0


@pytest.mark.parametrize(
    "packets",
    [(), (b"",), (FRAME, b""), (b"\0",), (bytes(CHUNK_MAX_BYTES + 2),), (b"\0\0",) * 1001],
    ids=["none", "empty", "one empty", "half a sample", "too much", "too many"],
)
def test_wrong_packets_are_refused_by_name(packets: tuple[bytes, ...]) -> None:
    with pytest.raises(Fault) as refusal:
        InputTimeline(PCM).take(packets, None, 0.0)
    assert (refusal.value.reason, refusal.value.field) == ("INVALID_AUDIO", "audio.packets")


def test_arrival_times_are_those_of_the_chunk_that_holds_the_sample() -> None:
    timeline = InputTimeline(PCM)
    for index in range(5):
        timeline.take((FRAME,), None, 1000.0 + index)
    assert timeline.arrived_at_ms(0.0) == 1000.0
    assert timeline.arrived_at_ms(30.0) == 1001.0
    assert timeline.arrived_at_ms(100.0) == 1004.0
    assert timeline.arrived_at_ms(101.0) is None
