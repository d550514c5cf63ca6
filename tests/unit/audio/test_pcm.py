"""Sample formats: what goes in comes out, and what cannot be audio is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_audio.pcm import (
    AudioError,
    AudioFormat,
    Encoding,
    decode_pcm,
    duration_ns,
    encode_pcm,
    sample_count,
    silence,
)

RAW = [Encoding.PCM_S16LE, Encoding.PCM_F32LE, Encoding.MULAW, Encoding.ALAW]


def raw_format(encoding: Encoding, channel_count: int = 1) -> AudioFormat:
    return AudioFormat(encoding, 16_000, channel_count)


@given(st.binary(max_size=400).filter(lambda data: len(data) % 2 == 0))
def test_s16_survives_decoding_and_encoding_bit_for_bit(data: bytes) -> None:
    s16 = raw_format(Encoding.PCM_S16LE)
    assert encode_pcm(decode_pcm(data, s16), s16) == data


@given(st.lists(st.floats(-1, 1, width=32), max_size=100))
def test_f32_survives_decoding_and_encoding_bit_for_bit(values: list[float]) -> None:
    f32 = raw_format(Encoding.PCM_F32LE)
    data = np.array(values, dtype="<f4").tobytes()
    assert encode_pcm(decode_pcm(data, f32), f32) == data


@pytest.mark.parametrize("encoding", [Encoding.MULAW, Encoding.ALAW])
def test_every_companded_code_decodes_to_a_value_that_encodes_to_it(encoding: Encoding) -> None:
    audio_format = raw_format(encoding)
    codes = bytes(range(256))
    values = decode_pcm(codes, audio_format)
    again = encode_pcm(values, audio_format)
    # µ-law has a code for minus zero, which reads as zero.
    differing = [code for code, other in zip(codes, again, strict=True) if code != other]
    assert differing == ([0x7F] if encoding is Encoding.MULAW else [])
    assert np.array_equal(decode_pcm(again, audio_format), values)


@pytest.mark.parametrize(
    ("encoding", "code", "value"),
    [
        (Encoding.MULAW, 0x00, -32124),
        (Encoding.MULAW, 0x80, 32124),
        (Encoding.MULAW, 0xFF, 0),
        (Encoding.MULAW, 0xE7, 260),
        (Encoding.ALAW, 0x55, -8),
        (Encoding.ALAW, 0xD5, 8),
        (Encoding.ALAW, 0x2A, -32256),
        (Encoding.ALAW, 0xAA, 32256),
    ],
)
def test_companded_codes_have_the_values_of_g711(encoding: Encoding, code: int, value: int) -> None:
    assert decode_pcm(bytes([code]), raw_format(encoding))[0] * 32768 == value


@pytest.mark.parametrize("encoding", [Encoding.MULAW, Encoding.ALAW])
@given(value=st.integers(-32768, 32767))
def test_companding_errs_by_less_than_one_thirtieth(encoding: Encoding, value: int) -> None:
    audio_format = raw_format(encoding)
    sample = np.array([value / 32768], dtype=np.float32)
    heard = float(decode_pcm(encode_pcm(sample, audio_format), audio_format)[0]) * 32768
    assert abs(heard - value) <= abs(value) / 30 + 16


@pytest.mark.parametrize("encoding", RAW)
@pytest.mark.parametrize("channel_count", [1, 2])
@given(data=st.data())
def test_splitting_bytes_between_samples_changes_nothing(
    encoding: Encoding, channel_count: int, data: st.DataObject
) -> None:
    audio_format = raw_format(encoding, channel_count)
    samples = np.array(data.draw(st.lists(st.floats(-1, 1, width=32), max_size=50)), dtype=np.float32)
    encoded = encode_pcm(samples, audio_format)
    cut = data.draw(st.integers(0, len(samples))) * audio_format.frame_bytes
    parts = [decode_pcm(encoded[:cut], audio_format), decode_pcm(encoded[cut:], audio_format)]
    assert np.array_equal(np.concatenate(parts), decode_pcm(encoded, audio_format))


@given(st.lists(st.tuples(st.integers(-32768, 32767), st.integers(-32768, 32767)), min_size=1, max_size=50))
def test_two_channels_become_their_mean(frames: list[tuple[int, int]]) -> None:
    data = np.array(frames, dtype="<i2").tobytes()
    mono = decode_pcm(data, raw_format(Encoding.PCM_S16LE, 2))
    assert np.allclose(mono * 32768, np.mean(frames, axis=1), atol=0.01)


def test_what_is_too_loud_is_clipped_and_does_not_wrap_around() -> None:
    loud = np.array([2.0, -2.0, 1.0], dtype=np.float32)
    assert np.frombuffer(encode_pcm(loud, raw_format(Encoding.PCM_S16LE)), "<i2").tolist() == [
        32767,
        -32768,
        32767,
    ]
    floats = np.array([9.0, -9.0], dtype="<f4").tobytes()
    assert decode_pcm(floats, raw_format(Encoding.PCM_F32LE)).tolist() == [1.0, -1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_float_that_is_no_number_is_refused(bad: float) -> None:
    data = np.array([0.0, bad], dtype="<f4").tobytes()
    with pytest.raises(AudioError, match="finite"):
        decode_pcm(data, raw_format(Encoding.PCM_F32LE))


@pytest.mark.parametrize(
    ("encoding", "channel_count", "byte_count"),
    [
        (Encoding.PCM_S16LE, 1, 3),
        (Encoding.PCM_S16LE, 2, 6),
        (Encoding.PCM_F32LE, 1, 5),
        (Encoding.MULAW, 2, 1),
    ],
)
def test_a_sample_cut_in_two_is_refused(encoding: Encoding, channel_count: int, byte_count: int) -> None:
    with pytest.raises(AudioError, match="whole samples"):
        decode_pcm(bytes(byte_count), raw_format(encoding, channel_count))


@pytest.mark.parametrize(
    ("rate_hz", "channel_count"), [(7999, 1), (48_001, 1), (0, 1), (16_000, 0), (16_000, 3)]
)
def test_formats_beyond_the_bounds_are_refused(rate_hz: int, channel_count: int) -> None:
    with pytest.raises(AudioError):
        AudioFormat(Encoding.PCM_S16LE, rate_hz, channel_count)


def test_a_compressed_encoding_is_no_raw_one() -> None:
    opus = AudioFormat(Encoding.OPUS, 48_000)
    assert not opus.is_raw
    for refused in (
        lambda: opus.frame_bytes,
        lambda: decode_pcm(b"", opus),
        lambda: encode_pcm(np.zeros(1, np.float32), opus),
    ):
        with pytest.raises(AudioError):
            refused()


@given(st.integers(0, 48_000 * 3600 * 24), st.integers(8_000, 48_000))
def test_durations_lose_no_sample(count: int, rate_hz: int) -> None:
    assert sample_count(duration_ns(count, rate_hz), rate_hz) == count


@given(st.integers(0, 10_000), st.integers(1, 2_000))
def test_silence_has_the_length_asked_for_in_small_chunks(count: int, chunk: int) -> None:
    chunks = list(silence(count, chunk))
    assert sum(len(part) for part in chunks) == count
    assert all(0 < len(part) <= chunk and not part.any() for part in chunks)
