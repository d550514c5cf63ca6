"""Wire requests to domain words. Whatever is not honoured is refused by name; nothing is silently ignored.

Used by `streaming_call` and `recording_call`. Field paths begin at the request message.
"""

import re
from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration

from parley.asr.v1 import recognition_options_pb2 as options_pb
from parley.audio.v1 import audio_pb2
from parley_asr.ports import ModelCapabilities
from parley_asr.voice_activity import Endpointing
from parley_audio.pcm import AudioError, AudioFormat, Encoding
from parley_servicekit import contract_faults
from parley_servicekit.faults import Fault, FaultCode

_STREAMED_ENCODINGS: Mapping[int, Encoding] = {
    audio_pb2.AUDIO_ENCODING_PCM_S16LE: Encoding.PCM_S16LE,
    audio_pb2.AUDIO_ENCODING_PCM_F32LE: Encoding.PCM_F32LE,
    audio_pb2.AUDIO_ENCODING_MULAW: Encoding.MULAW,
    audio_pb2.AUDIO_ENCODING_ALAW: Encoding.ALAW,
    audio_pb2.AUDIO_ENCODING_OPUS: Encoding.OPUS,
}
_FILE_ENCODINGS = frozenset(
    [audio_pb2.AUDIO_ENCODING_WAV, audio_pb2.AUDIO_ENCODING_OGG_OPUS, audio_pb2.AUDIO_ENCODING_MP3]
)
_LANGUAGE_PATTERN = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}")
_MODEL_MAX_CHARS = 128
_LANGUAGE_MAX_COUNT = 8
_HOT_WORD_MAX_COUNT, _HOT_WORD_MAX_CHARS = 200, 64
_END_SILENCE_MS = (100, 10_000)
_PAUSE_SILENCE_MIN_MS = 50
_THRESHOLD = (0.05, 0.95)
_DEFAULTS = Endpointing()


def streamed_format(wire: audio_pb2.AudioFormat, field: str) -> AudioFormat:
    """The format of live audio. Raises Fault."""
    encoding = _STREAMED_ENCODINGS.get(wire.encoding)
    if encoding is None:
        if wire.encoding in _FILE_ENCODINGS:
            raise contract_faults.invalid_field(
                f"{field}.encoding", "file formats are not streamed: use Recognize"
            )
        raise contract_faults.invalid_field(f"{field}.encoding", "the encoding is required")
    try:
        return AudioFormat(encoding, wire.sample_rate_hertz, wire.channel_count or 1)
    except AudioError as error:
        wrong = "channel_count" if "channel" in str(error) else "sample_rate_hertz"
        raise contract_faults.invalid_field(f"{field}.{wrong}", str(error)) from None


def recorded_format(wire: audio_pb2.AudioFormat, field: str) -> AudioFormat | None:
    """The format of a raw recording; None for a file that says it itself. Raises Fault."""
    if wire.encoding == audio_pb2.AUDIO_ENCODING_UNSPECIFIED or wire.encoding in _FILE_ENCODINGS:
        return None
    if wire.encoding == audio_pb2.AUDIO_ENCODING_OPUS:
        raise contract_faults.invalid_field(
            f"{field}.encoding", "raw Opus packets have no boundaries in a file: use OGG_OPUS"
        )
    return streamed_format(wire, field)


def hot_words(
    wire: options_pb.RecognitionOptions, capabilities: ModelCapabilities, field: str
) -> tuple[str, ...]:
    """The hot words, once everything else about the options is known to be honoured. Raises Fault."""
    if len(wire.model) > _MODEL_MAX_CHARS:
        raise contract_faults.invalid_field(f"{field}.model", f"at most {_MODEL_MAX_CHARS} characters")
    if wire.model and wire.model != capabilities.name:
        raise Fault(
            "MODEL_NOT_FOUND", "no model of that name", code=FaultCode.NOT_FOUND, field=f"{field}.model"
        )
    if wire.punctuation:
        raise contract_faults.not_honoured(
            f"{field}.punctuation", "punctuation is not restored in this version"
        )
    if wire.task not in (
        options_pb.RECOGNITION_TASK_UNSPECIFIED,
        options_pb.RECOGNITION_TASK_TRANSCRIBE,
    ):
        raise contract_faults.not_honoured(f"{field}.task", "this version transcribes only")
    _check_languages(tuple(wire.language_codes), capabilities, f"{field}.language_codes")
    words = tuple(wire.hot_words)
    if words and not capabilities.supports_hot_words:
        raise contract_faults.not_honoured(f"{field}.hot_words", "the model takes no hot words")
    if len(words) > _HOT_WORD_MAX_COUNT or any(not 0 < len(word) <= _HOT_WORD_MAX_CHARS for word in words):
        raise contract_faults.invalid_field(
            f"{field}.hot_words",
            f"at most {_HOT_WORD_MAX_COUNT} words of 1 to {_HOT_WORD_MAX_CHARS} characters",
        )
    return words


def endpointing(wire: options_pb.EndpointingOptions, field: str) -> Endpointing:
    """When utterances begin and end. Raises Fault."""
    end_ms = _DEFAULTS.end_silence_ms
    if wire.HasField("end_silence_duration"):
        low, high = _END_SILENCE_MS
        end_ms = _milliseconds(wire.end_silence_duration, low, high, f"{field}.end_silence_duration")
    pause_ms = min(_DEFAULTS.pause_silence_ms, end_ms)
    if wire.HasField("pause_silence_duration"):
        pause_ms = _milliseconds(
            wire.pause_silence_duration, _PAUSE_SILENCE_MIN_MS, end_ms, f"{field}.pause_silence_duration"
        )
    threshold = wire.speech_threshold or _DEFAULTS.speech_threshold
    # Written so that NaN is refused too; a float32 of 0.95 is a little more than 0.95.
    if not _THRESHOLD[0] - 1e-6 <= threshold <= _THRESHOLD[1] + 1e-6:
        raise contract_faults.invalid_field(
            f"{field}.speech_threshold", f"must be {_THRESHOLD[0]} to {_THRESHOLD[1]}"
        )
    return Endpointing(wire.manual, end_ms, pause_ms, threshold)


def nanoseconds(wire: Duration, field: str) -> int:
    """A duration that is not negative. Raises Fault."""
    if wire.seconds < 0 or not 0 <= wire.nanos < 1_000_000_000:
        raise contract_faults.invalid_field(field, "must be a duration of 0 or more")
    return wire.seconds * 1_000_000_000 + wire.nanos


def _milliseconds(wire: Duration, low_ms: int, high_ms: int, field: str) -> int:
    length_ns = nanoseconds(wire, field)
    if not low_ms * 1_000_000 <= length_ns <= high_ms * 1_000_000:
        raise contract_faults.invalid_field(field, f"must be {low_ms} to {high_ms} ms")
    return length_ns // 1_000_000


def _check_languages(codes: tuple[str, ...], capabilities: ModelCapabilities, field: str) -> None:
    if len(codes) > _LANGUAGE_MAX_COUNT or not all(_LANGUAGE_PATTERN.fullmatch(code) for code in codes):
        raise contract_faults.invalid_field(field, f"at most {_LANGUAGE_MAX_COUNT} BCP-47 codes")
    known = {_primary(code) for code in capabilities.language_codes}
    if known and not all(_primary(code) in known for code in codes):
        raise contract_faults.not_honoured(
            field, f"the model knows {', '.join(capabilities.language_codes)} only"
        )


def _primary(code: str) -> str:
    return code.partition("-")[0].lower()
