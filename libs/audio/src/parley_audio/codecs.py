"""Streaming decoders and encoders, one per stream: packets as they travel to float32 mono and back.

    decoder = open_decoder(AudioFormat(Encoding.OPUS, 48_000))     # asr: what a client sends
    samples = decoder.decode(packet)                               # float32 mono at decoder.sample_rate_hz
    encoder = open_encoder(AudioFormat(Encoding.PCM_S16LE, 24_000))  # tts: what a client asked for
    packets = encoder.encode(samples) + encoder.flush()

Raw encodings and WAV need nothing else; OPUS, OGG_OPUS and MP3 need PyAV (the extra `codecs`) and live in
`av_codecs`. Nothing here is safe to share between threads.
"""

import struct
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from parley_audio.pcm import AudioError, AudioFormat, Encoding, Samples, decode_pcm, encode_pcm

OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
MP3_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_UNKNOWN_BYTES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Packet:
    """Encoded audio and how many samples (at the format's rate) it stands for; of a WAV header, none."""

    data: bytes
    sample_count: int


class Decoder(Protocol):
    """Decodes one stream. `sample_rate_hz` is the rate of what `decode` returns."""

    sample_rate_hz: int

    def decode(self, packet: bytes) -> Samples:
        """One packet; only raw encodings have empty ones. AudioError if malformed; the next may be fine."""
        ...


class Encoder(Protocol):
    """Encodes one stream of samples at the rate of its format."""

    def encode(self, samples: Samples) -> list[Packet]:
        """The packets that are complete, none or several."""
        ...

    def flush(self) -> list[Packet]:
        """The rest, padded with silence where packets have a fixed length. Ends the stream."""
        ...


def open_decoder(audio_format: AudioFormat) -> Decoder:
    """A decoder for what a client streams: a raw encoding or OPUS. AudioError for the others."""
    if audio_format.is_raw:
        return _RawDecoder(audio_format)
    if audio_format.encoding is Encoding.OPUS:
        decoder: Decoder = _av_codecs().OpusDecoder()
        return decoder
    raise AudioError(f"{audio_format.encoding.name} is for output and for files, not for streamed input")


def open_encoder(audio_format: AudioFormat) -> Encoder:
    """An encoder for any encoding. AudioError for a rate the codec does not have, or without PyAV."""
    encoding = audio_format.encoding
    if audio_format.is_raw:
        return _RawEncoder(audio_format)
    if encoding is Encoding.WAV:
        return _WavEncoder(audio_format)
    if audio_format.channel_count != 1:
        raise AudioError(f"{encoding.name} output has one channel")
    rates_hz = MP3_RATES_HZ if encoding is Encoding.MP3 else OPUS_RATES_HZ
    if audio_format.sample_rate_hz not in rates_hz:
        raise AudioError(f"{encoding.name} has the sample rates {', '.join(map(str, rates_hz))} Hz")
    encoder: Encoder
    if encoding is Encoding.OPUS:
        encoder = _av_codecs().OpusEncoder(audio_format.sample_rate_hz)
    else:
        encoder = _av_codecs().ContainerEncoder(encoding, audio_format.sample_rate_hz)
    return encoder


class _RawDecoder:
    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self.sample_rate_hz = audio_format.sample_rate_hz

    def decode(self, packet: bytes) -> Samples:
        return decode_pcm(packet, self._format)


class _RawEncoder:
    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format

    def encode(self, samples: Samples) -> list[Packet]:
        return [Packet(encode_pcm(samples, self._format), len(samples))] if len(samples) else []

    def flush(self) -> list[Packet]:
        return []


class _WavEncoder:
    """16-bit WAV whose header says "length unknown" as players of streams expect it; `wav` writes files."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = AudioFormat(
            Encoding.PCM_S16LE, audio_format.sample_rate_hz, audio_format.channel_count
        )
        self._is_started = False

    def encode(self, samples: Samples) -> list[Packet]:
        packets = self._header()
        if len(samples):
            packets.append(Packet(encode_pcm(samples, self._format), len(samples)))
        return packets

    def flush(self) -> list[Packet]:
        return self._header()

    def _header(self) -> list[Packet]:
        if self._is_started:
            return []
        self._is_started = True
        rate_hz, channel_count = self._format.sample_rate_hz, self._format.channel_count
        frame_bytes = self._format.frame_bytes
        chunk = struct.pack("<HHIIHH", 1, channel_count, rate_hz, rate_hz * frame_bytes, frame_bytes, 16)
        unknown = struct.pack("<I", _UNKNOWN_BYTES)
        return [Packet(b"RIFF" + unknown + b"WAVEfmt \x10\0\0\0" + chunk + b"data" + unknown, 0)]


def _av_codecs() -> ModuleType:
    try:
        from parley_audio import av_codecs  # noqa: PLC0415 - optional and 100 MB
    except ImportError:
        raise AudioError("compressed audio needs PyAV: install parley-audio[codecs]") from None
    return av_codecs
