"""Streamed codecs: what is encoded is heard again, and nonsense is refused without ending the stream."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_audio.codecs import OPUS_RATES_HZ, Packet, open_decoder, open_encoder
from parley_audio.files import decode_file
from parley_audio.pcm import AudioError, AudioFormat, Encoding, Samples, encode_pcm
from parley_audio.wav import read_wav

RAW = [Encoding.PCM_S16LE, Encoding.PCM_F32LE, Encoding.MULAW, Encoding.ALAW]
OPUS_48 = AudioFormat(Encoding.OPUS, 48_000)


def tone(rate_hz: int, sample_count: int) -> Samples:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(sample_count) / rate_hz)).astype(np.float32)


def encoded(audio_format: AudioFormat, samples: Samples, piece_sample_count: int = 333) -> list[Packet]:
    encoder = open_encoder(audio_format)
    packets: list[Packet] = []
    for at in range(0, len(samples), piece_sample_count):
        packets += encoder.encode(samples[at : at + piece_sample_count])
    return packets + encoder.flush()


@pytest.mark.parametrize("encoding", RAW)
@given(
    sample_count=st.integers(0, 500),
    piece_sample_count=st.integers(1, 200),
    channel_count=st.sampled_from([1, 2]),
)
@settings(deadline=None)
def test_raw_packets_are_the_same_however_the_samples_come(
    encoding: Encoding, sample_count: int, piece_sample_count: int, channel_count: int
) -> None:
    audio_format = AudioFormat(encoding, 16_000, channel_count)
    samples = tone(16_000, sample_count)
    packets = encoded(audio_format, samples, piece_sample_count)
    assert b"".join(packet.data for packet in packets) == encode_pcm(samples, audio_format)
    assert sum(packet.sample_count for packet in packets) == sample_count
    decoder = open_decoder(audio_format)
    heard = [decoder.decode(packet.data) for packet in packets]
    assert sum(len(part) for part in heard) == sample_count
    assert decoder.sample_rate_hz == 16_000


@pytest.mark.parametrize("rate_hz", OPUS_RATES_HZ)
def test_opus_packets_are_twenty_milliseconds_and_sound_the_same(rate_hz: int) -> None:
    samples = tone(rate_hz, rate_hz + 7)
    packets = encoded(AudioFormat(Encoding.OPUS, rate_hz), samples)
    assert [packet.sample_count for packet in packets] == [rate_hz // 50] * 50 + [7]
    decoder = open_decoder(OPUS_48)
    heard = np.concatenate([decoder.decode(packet.data) for packet in packets])
    assert decoder.sample_rate_hz == 48_000
    assert len(heard) == 51 * 960
    assert np.std(heard[9_600:40_000]) == pytest.approx(0.3 / math.sqrt(2), rel=0.1)


@given(st.integers(1, 3_000))
@settings(deadline=None, max_examples=20)
def test_opus_packets_are_the_same_however_the_samples_come(piece_sample_count: int) -> None:
    audio_format = AudioFormat(Encoding.OPUS, 16_000)
    samples = tone(16_000, 3_000)
    assert encoded(audio_format, samples, piece_sample_count) == encoded(audio_format, samples, 320)


@given(st.lists(st.binary(max_size=200), max_size=20))
@settings(deadline=None)
def test_an_opus_decoder_outlives_garbage(garbage: list[bytes]) -> None:
    good = encoded(AudioFormat(Encoding.OPUS, 48_000), tone(48_000, 960))[0].data
    decoder = open_decoder(OPUS_48)
    for packet in garbage:
        try:
            heard = decoder.decode(packet)
        except AudioError:
            continue
        assert len(heard) <= 48_000 * 120 // 1000
    assert len(decoder.decode(good)) == 960


@pytest.mark.parametrize("packet", [b"", bytes(8193)])
def test_an_opus_packet_of_an_impossible_size_is_refused(packet: bytes) -> None:
    with pytest.raises(AudioError):
        open_decoder(OPUS_48).decode(packet)


@pytest.mark.parametrize("encoding", [Encoding.WAV, Encoding.OGG_OPUS, Encoding.MP3])
def test_a_streamed_file_is_one_that_others_open(encoding: Encoding) -> None:
    packets = encoded(AudioFormat(encoding, 24_000), tone(24_000, 48_000))
    assert sum(packet.sample_count for packet in packets) == 48_000
    data = b"".join(packet.data for packet in packets)
    heard = np.concatenate(list(decode_file(data)))
    samples, rate_hz = read_wav(data)
    assert rate_hz == 24_000
    # MP3 frames hold 576 samples, and its coder runs in over two of them.
    assert len(heard) == pytest.approx(32_000, abs=1_200)
    assert len(samples) == pytest.approx(48_000, abs=1_800)
    assert np.std(heard[3_000:-3_000]) == pytest.approx(0.3 / math.sqrt(2), rel=0.1)


@pytest.mark.parametrize("encoding", [Encoding.WAV, Encoding.OGG_OPUS, Encoding.MP3])
def test_a_streamed_file_leaves_while_it_is_made(encoding: Encoding) -> None:
    encoder = open_encoder(AudioFormat(encoding, 24_000))
    first_half = encoder.encode(tone(24_000, 24_000))
    told_count = sum(packet.sample_count for packet in first_half)
    assert told_count == 24_000
    assert sum(len(packet.data) for packet in first_half) > 1_000


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_stream_without_samples_can_end(encoding: Encoding) -> None:
    packets = open_encoder(AudioFormat(encoding, 24_000)).flush()
    assert sum(packet.sample_count for packet in packets) == 0


@pytest.mark.parametrize("encoding", [Encoding.WAV, Encoding.OGG_OPUS, Encoding.MP3])
def test_files_are_no_streamed_input(encoding: Encoding) -> None:
    with pytest.raises(AudioError, match=encoding.name):
        open_decoder(AudioFormat(encoding, 24_000))


@pytest.mark.parametrize(
    "audio_format",
    [
        AudioFormat(Encoding.OPUS, 22_050),
        AudioFormat(Encoding.OGG_OPUS, 44_100),
        AudioFormat(Encoding.MP3, 9_000),
        AudioFormat(Encoding.OPUS, 48_000, 2),
    ],
)
def test_what_a_codec_does_not_have_is_refused_when_it_is_opened(audio_format: AudioFormat) -> None:
    with pytest.raises(AudioError, match=audio_format.encoding.name):
        open_encoder(audio_format)
