"""What a request asks for, checked: wire messages to domain words and back. Called by `servicer` only."""

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from parley.audio.v1 import audio_pb2
from parley.tts.v1 import synthesis_options_pb2 as options_pb
from parley_audio.pcm import AudioError, AudioFormat, Encoding, duration_ns
from parley_servicekit import contract_faults
from parley_servicekit.faults import Fault
from parley_tts.audio_output import EncodedAudio
from parley_tts.ports import SpeechOptions
from parley_tts.synthesis import PhraseMarked

_DEFAULT_RATE_HZ = 24_000
_VOICE_MAX_CHARS = 128
_LANGUAGE_MAX_CHARS = 64
_RANGES = {"speed": (0.25, 4.0), "pitch": (0.5, 2.0), "volume": (0.0, 2.0)}
_ENCODINGS = {
    audio_pb2.AUDIO_ENCODING_PCM_S16LE: Encoding.PCM_S16LE,
    audio_pb2.AUDIO_ENCODING_PCM_F32LE: Encoding.PCM_F32LE,
    audio_pb2.AUDIO_ENCODING_MULAW: Encoding.MULAW,
    audio_pb2.AUDIO_ENCODING_ALAW: Encoding.ALAW,
    audio_pb2.AUDIO_ENCODING_OPUS: Encoding.OPUS,
    audio_pb2.AUDIO_ENCODING_WAV: Encoding.WAV,
    audio_pb2.AUDIO_ENCODING_OGG_OPUS: Encoding.OGG_OPUS,
    audio_pb2.AUDIO_ENCODING_MP3: Encoding.MP3,
}
_FILE_ENCODINGS = (Encoding.WAV, Encoding.OGG_OPUS, Encoding.MP3)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options of a request say."""

    options: SpeechOptions
    gain: float


def read_options(message: options_pb.SynthesisOptions) -> Wish:
    """Raises Fault naming `synthesis.<field>`."""
    factors = {}
    given = {field.name: value for field, value in message.ListFields()}
    for name, (lowest, highest) in _RANGES.items():
        value = given.get(name, 1.0)
        if not lowest <= value <= highest:  # NaN too
            raise contract_faults.invalid_field(f"synthesis.{name}", f"must be {lowest:g} to {highest:g}")
        factors[name] = value
    if len(message.voice) > _VOICE_MAX_CHARS:
        raise contract_faults.invalid_field("synthesis.voice", f"longer than {_VOICE_MAX_CHARS} characters")
    if len(message.language_code) > _LANGUAGE_MAX_CHARS:
        raise contract_faults.invalid_field(
            "synthesis.language_code", f"longer than {_LANGUAGE_MAX_CHARS} characters"
        )
    options = SpeechOptions(
        voice=message.voice,
        language_code=message.language_code,
        speed=factors["speed"],
        pitch=factors["pitch"],
        seed=message.seed if message.HasField("seed") else None,
    )
    return Wish(options, factors["volume"])


def read_format(message: audio_pb2.AudioFormat | None, *, is_live: bool) -> AudioFormat:
    """The output format; None: the default. Raises Fault naming `output_audio.<field>`."""
    if message is None:
        return AudioFormat(Encoding.PCM_S16LE if is_live else Encoding.WAV, _DEFAULT_RATE_HZ)
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        raise contract_faults.invalid_field("output_audio.encoding", "an encoding is needed")
    if is_live and encoding in _FILE_ENCODINGS:
        raise contract_faults.invalid_field(
            "output_audio.encoding", f"{encoding.name} is a file; Synthesize makes files"
        )
    if message.channel_count not in (0, 1):
        raise contract_faults.invalid_field("output_audio.channel_count", "output is mono: 1, or 0 for it")
    rate_hz = message.sample_rate_hertz
    if rate_hz == 0 and encoding in _FILE_ENCODINGS:
        rate_hz = _DEFAULT_RATE_HZ
    try:
        return AudioFormat(encoding, rate_hz)
    except AudioError as error:
        raise bad_rate(error) from None


def bad_rate(error: AudioError) -> Fault:
    """The codec does not have the rate asked for."""
    return contract_faults.invalid_field("output_audio.sample_rate_hertz", str(error))


def write_mark(mark: PhraseMarked, rate_hz: int) -> options_pb.PhraseMark:
    """A phrase mark with its offsets as durations."""
    message = options_pb.PhraseMark(
        index=mark.index,
        text=mark.text,
        start_offset=_duration(0, mark.start_sample, rate_hz),
        words=[
            options_pb.WordMark(
                text_offset=word.text_offset, start_offset=_duration(0, word.start_sample, rate_hz)
            )
            for word in mark.words
        ],
    )
    if mark.sample_count is not None:
        end = mark.start_sample + mark.sample_count
        message.duration.CopyFrom(_duration(mark.start_sample, end, rate_hz))
    return message


def write_audio(audio: EncodedAudio, rate_hz: int) -> audio_pb2.AudioChunk:
    """A chunk with its place; chunks that follow each other in samples do so in nanoseconds too."""
    end = audio.start_sample + audio.sample_count
    return audio_pb2.AudioChunk(
        packets=audio.packets,
        start_offset=_duration(0, audio.start_sample, rate_hz),
        duration=_duration(audio.start_sample, end, rate_hz),
    )


def write_length(sample_count: int, rate_hz: int) -> Duration:
    """A length in samples."""
    return _duration(0, sample_count, rate_hz)


def _duration(start_sample: int, end_sample: int, rate_hz: int) -> Duration:
    nanoseconds = duration_ns(end_sample, rate_hz) - duration_ns(start_sample, rate_hz)
    return Duration(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)
