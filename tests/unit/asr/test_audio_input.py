"""What a client streams, to 16 kHz mono: contiguity, gaps, refusals. Encodings are tested with the audio library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_asr.audio_input import AudioInput
from parley_audio.pcm import AudioFormat, Encoding, duration_ns
from parley_servicekit.faults import Fault

S16 = AudioFormat(Encoding.PCM_S16LE, 16_000)
MS = 1_000_000


def ramp(count: int) -> bytes:
    return np.arange(1, count + 1, dtype="<i2").tobytes()


def read(audio_input: AudioInput, *packets: bytes, at_ns: int | None = None) -> list[float]:
    return [float(sample) for piece in audio_input.read(packets, at_ns) for sample in piece]


def test_packets_become_samples_in_order() -> None:
    audio_input = AudioInput(S16)
    assert read(audio_input, ramp(3), ramp(2)) == [value / 32768 for value in (1, 2, 3, 1, 2)]


def test_a_later_offset_is_silence() -> None:
    audio_input = AudioInput(S16)
    read(audio_input, ramp(16))
    samples = read(audio_input, ramp(16), at_ns=5 * MS)
    assert len(samples) == 64 + 16
    assert not any(samples[:64]) and all(samples[64:])


def test_a_long_gap_comes_in_slices_of_at_most_200_ms() -> None:
    pieces = [len(piece) for piece in AudioInput(S16).read([], 60_000 * MS)]
    assert sum(pieces) == 960_000 and max(pieces) == 3200


def test_a_long_packet_comes_in_slices_of_at_most_200_ms() -> None:
    mulaw = AudioFormat(Encoding.MULAW, 8_000)
    assert max(len(piece) for piece in AudioInput(mulaw).read([bytes(65_536)])) <= 3200


@pytest.mark.parametrize("off_ns", [-MS, 0, MS])
def test_offsets_off_by_a_millisecond_are_contiguous(off_ns: int) -> None:
    audio_input = AudioInput(S16)
    read(audio_input, ramp(1600))
    assert len(read(audio_input, ramp(16), at_ns=100 * MS + off_ns)) == 16


@pytest.mark.parametrize("at_ns", [0, 98 * MS, 60_101 * MS, 10**18])
def test_offsets_out_of_reach_are_refused(at_ns: int) -> None:
    audio_input = AudioInput(S16)
    read(audio_input, ramp(1600))
    with pytest.raises(Fault) as refused:
        read(audio_input, ramp(16), at_ns=at_ns)
    assert refused.value.field == "audio.start_offset"


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(1, 4000), max_size=12),
    gaps=st.lists(st.integers(0, 4000), min_size=12, max_size=12),
    rate_hz=st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000]),
)
def test_exact_offsets_keep_time_whatever_the_cuts_and_gaps(
    counts: list[int], gaps: list[int], rate_hz: int
) -> None:
    audio_input = AudioInput(AudioFormat(Encoding.PCM_S16LE, rate_hz))
    position = out_count = 0
    tolerance = round(rate_hz / 1000)
    for count, gap in zip(counts, gaps, strict=False):
        kept_gap = gap if gap > tolerance else 0
        out_count += len(read(audio_input, ramp(count), at_ns=duration_ns(position + kept_gap, rate_hz)))
        position += kept_gap + count
    out_count += len(audio_input.flush())
    assert out_count == -(-position * 16_000 // rate_hz)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_samples_or_refused(data: bytes) -> None:
    for encoding in (Encoding.PCM_S16LE, Encoding.PCM_F32LE, Encoding.MULAW, Encoding.OPUS):
        audio_input = AudioInput(AudioFormat(encoding, 48_000))
        try:
            samples = np.array(read(audio_input, data))
        except Fault as fault:
            assert fault.field == "audio.packets"
        else:
            assert np.isfinite(samples).all() and (np.abs(samples) <= 1).all()
