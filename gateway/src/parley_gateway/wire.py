"""Domain words to wire messages and back, for entrypoints and adapters alike. Pure."""

from google.protobuf.duration_pb2 import Duration

from parley.audio.v1 import audio_pb2
from parley.llm.v1 import generation_options_pb2 as generation_pb2
from parley.tts.v1 import synthesis_options_pb2 as synthesis_pb2
from parley_gateway.ports import Audio, AudioEncoding, AudioFormat, GenerationRequest, SpeakingRequest

_ENCODING_TO_WIRE = {
    encoding: audio_pb2.AudioEncoding.Value(f"AUDIO_ENCODING_{encoding.value}") for encoding in AudioEncoding
}
_ENCODING_FROM_WIRE: dict[int, AudioEncoding] = {
    number: encoding for encoding, number in _ENCODING_TO_WIRE.items()
}
# Durations beyond a year are a hostile or broken sender's; they count as a year.
_LONGEST_S = 366 * 86_400


def duration(milliseconds: float) -> Duration:
    """A wire duration, exact to the microsecond."""
    message = Duration()
    message.FromMicroseconds(round(milliseconds * 1000))
    return message


def milliseconds(message: Duration) -> float:
    """Milliseconds of a wire duration, whatever its fields hold; at most a year either way."""
    seconds = max(-_LONGEST_S, min(_LONGEST_S, message.seconds))
    return seconds * 1000 + message.nanos / 1e6


def audio_format_to_wire(audio_format: AudioFormat) -> audio_pb2.AudioFormat:
    """The wire form of a format."""
    return audio_pb2.AudioFormat(
        encoding=_ENCODING_TO_WIRE[audio_format.encoding],
        sample_rate_hertz=audio_format.sample_rate_hz,
        channel_count=audio_format.channel_count,
    )


def encoding_from_wire(number: int) -> AudioEncoding | None:
    """The encoding, or None for those that a live stream cannot use."""
    return _ENCODING_FROM_WIRE.get(number)


def generation_to_wire(request: GenerationRequest) -> generation_pb2.GenerationOptions:
    """The options of a generation; what is not chosen stays unset."""
    return generation_pb2.GenerationOptions(
        model=request.model,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        repeat_penalty=request.repeat_penalty,
        seed=request.seed,
        stop=request.stop,
        max_tokens=request.max_tokens,
    )


def synthesis_to_wire(request: SpeakingRequest) -> synthesis_pb2.SynthesisOptions:
    """The options of speech; what is not chosen stays unset."""
    return synthesis_pb2.SynthesisOptions(
        voice=request.voice,
        speed=request.speed,
        pitch=request.pitch,
        volume=request.volume,
        seed=request.seed,
        language_code=request.language_code,
    )


def audio_to_wire(audio: Audio) -> audio_pb2.AudioChunk:
    """The wire form of audio, offset and duration set."""
    return audio_pb2.AudioChunk(
        packets=audio.packets,
        start_offset=duration(audio.start_offset_ms),
        duration=duration(audio.duration_ms),
    )


def audio_from_wire(chunk: audio_pb2.AudioChunk) -> Audio:
    """Audio of a service, which always sets offset and duration."""
    return Audio(tuple(chunk.packets), milliseconds(chunk.start_offset), milliseconds(chunk.duration))
