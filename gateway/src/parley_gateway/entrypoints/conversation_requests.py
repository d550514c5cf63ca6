"""Checks a client's ConversationConfig and turns it into a SessionConfig, and back into the effective config.

Called by the conversation servicer. What this version does not honour is refused by name.
"""

from collections.abc import Mapping
from dataclasses import replace

from google.protobuf.message import Message

from parley.asr.v1 import recognition_options_pb2 as recognition_pb2
from parley.audio.v1 import audio_pb2
from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_service_pb2 as service_pb2
from parley.llm.v1 import generation_options_pb2 as generation_pb2
from parley.tts.v1 import synthesis_options_pb2 as synthesis_pb2
from parley_gateway import wire
from parley_gateway.personas import Persona
from parley_gateway.ports import (
    AudioEncoding,
    AudioFormat,
    GenerationRequest,
    ListeningRequest,
    SpeakingRequest,
)
from parley_gateway.session.config import SessionConfig
from parley_gateway.turns.policy import BargeIn, TurnDetection, TurnPolicy
from parley_servicekit.faults import Fault

SYSTEM_PROMPT_MAX_BYTES = 32 * 1024
_INPUT_DEFAULT = AudioFormat(AudioEncoding.PCM_S16LE, 16_000)
_OUTPUT_DEFAULT = AudioFormat(AudioEncoding.PCM_S16LE, 24_000)
_END_SILENCE_DEFAULT_MS = 600
_SPEECH_THRESHOLD_DEFAULT = 0.5
_UPDATABLE = frozenset({"persona", "system_prompt", "generation", "synthesis"})
# Path of the field in ConversationConfig -> what a client should know about it.
_NOT_HONOURED = {
    "resume": "continue a conversation by its conversation_id",
    "greet": "the person speaks first",
    "recognition.punctuation": "transcripts come as the model writes them",
    "generation.tools": "the model cannot call tools",
    "generation.tool_choice": "the model cannot call tools",
    "turn_taking.end_silence_max_duration": "end_silence_min_duration alone ends a turn",
    "turn_taking.no_speech_timeout_duration": "the session waits for speech without end",
    "turn_taking.eager": "a reply begins when the turn is over",
}


def session_config(
    message: config_pb2.ConversationConfig, personas: Mapping[str, Persona], default_persona: str
) -> SessionConfig:
    """The checked config of a new session. Raises Fault INVALID_CONFIG naming the field."""
    _refuse_not_honoured(message)
    persona, system_prompt = _character(message, personas, default_persona)
    wants_text, wants_audio = _output_modes(message)
    return SessionConfig(
        conversation_id=message.conversation_id,
        persona=persona,
        listening=_listening(message),
        generation=_generation(message.generation, system_prompt),
        speaking=_speaking(message.synthesis, _audio_format(message, "output_audio", _OUTPUT_DEFAULT)),
        policy=_policy(message.turn_taking, speaks=wants_audio),
        wants_text=wants_text,
        wants_audio=wants_audio,
    )


def updated_config(
    current: SessionConfig,
    update: config_pb2.ConfigUpdate,
    personas: Mapping[str, Persona],
    default_persona: str,
) -> SessionConfig:
    """The config after an update. Raises Fault INVALID_CONFIG naming what is wrong."""
    paths = set(update.update_mask.paths)
    if not paths or not paths <= _UPDATABLE:
        raise invalid("update.update_mask", f"update_mask needs paths out of {', '.join(sorted(_UPDATABLE))}")
    fresh = session_config(update.config, personas, default_persona)
    if paths & {"persona", "system_prompt"}:
        generation = replace(current.generation, system_prompt=fresh.generation.system_prompt)
        current = replace(current, persona=fresh.persona, generation=generation)
    if "generation" in paths:
        generation = replace(fresh.generation, system_prompt=current.generation.system_prompt)
        current = replace(current, generation=generation)
    if "synthesis" in paths:
        speaking = replace(fresh.speaking, output_audio=current.speaking.output_audio)
        current = replace(current, speaking=speaking)
    return current


def effective_config(config: SessionConfig, conversation_id: str) -> config_pb2.ConversationConfig:
    """What is in force, for SessionReady. The system prompt is left out: the client knows its own."""
    modes = [config_pb2.OUTPUT_MODE_TEXT] * config.wants_text + [
        config_pb2.OUTPUT_MODE_AUDIO
    ] * config.wants_audio
    is_manual = config.policy.detection is TurnDetection.PUSH_TO_TALK
    message = config_pb2.ConversationConfig(
        conversation_id=conversation_id,
        input_audio=wire.audio_format_to_wire(config.listening.input_audio),
        output_audio=wire.audio_format_to_wire(config.speaking.output_audio),
        language_codes=config.listening.language_codes,
        recognition=recognition_pb2.RecognitionOptions(
            model=config.listening.model, hot_words=config.listening.hot_words
        ),
        generation=wire.generation_to_wire(config.generation),
        synthesis=wire.synthesis_to_wire(config.speaking),
        turn_taking=config_pb2.TurnTakingOptions(
            detection=config_pb2.TURN_DETECTION_PUSH_TO_TALK
            if is_manual
            else config_pb2.TURN_DETECTION_AUTOMATIC,
            end_silence_min_duration=wire.duration(config.listening.end_silence_ms),
            speech_threshold=config.listening.speech_threshold or _SPEECH_THRESHOLD_DEFAULT,
            barge_in=config_pb2.BARGE_IN_OFF
            if config.policy.barge_in is BargeIn.OFF
            else config_pb2.BARGE_IN_ON_ONSET,
        ),
        output_modes=modes,
    )
    if config.persona:
        message.persona = config.persona
    return message


def refuse_tool_result(_: service_pb2.ToolResult) -> Fault:
    """The fault of a client that answers a tool call nobody made."""
    return invalid("tool_result", "tool_result is not honoured by this version: the model cannot call tools")


def invalid(field: str, message: str) -> Fault:
    """INVALID_CONFIG about one field."""
    return Fault.caller("INVALID_CONFIG", message, field=field)


def _refuse_not_honoured(message: config_pb2.ConversationConfig) -> None:
    _refuse_unknown_choices(message)
    for path, advice in _NOT_HONOURED.items():
        if _is_set(message, path):
            raise invalid(f"config.{path}", f"{path} is not honoured by this version: {advice}")
    if message.recognition.task == recognition_pb2.RECOGNITION_TASK_TRANSLATE:
        raise invalid("config.recognition.task", "translation is not honoured by this version")
    if message.turn_taking.barge_in == config_pb2.BARGE_IN_JUDGED:
        raise invalid(
            "config.turn_taking.barge_in", "JUDGED is not honoured by this version: use OFF or ON_ONSET"
        )


def _refuse_unknown_choices(message: config_pb2.ConversationConfig) -> None:
    turns = message.turn_taking
    choices = {
        "recognition.task": (recognition_pb2.RecognitionTask, message.recognition.task),
        "turn_taking.detection": (config_pb2.TurnDetection, turns.detection),
        "turn_taking.barge_in": (config_pb2.BargeIn, turns.barge_in),
    }
    for path, (enumeration, number) in choices.items():
        if number not in enumeration.values():
            raise invalid(f"config.{path}", f"{path} has a value that this version does not know")


def _is_set(message: Message, path: str) -> bool:
    first, _, rest = path.partition(".")
    if not rest:
        return first in {descriptor.name for descriptor, _ in message.ListFields()}
    return message.HasField(first) and _is_set(getattr(message, first), rest)


def _character(
    message: config_pb2.ConversationConfig, personas: Mapping[str, Persona], default_persona: str
) -> tuple[str, str]:
    """Persona name and system prompt."""
    if message.WhichOneof("character") == "system_prompt":
        if len(message.system_prompt.encode()) > SYSTEM_PROMPT_MAX_BYTES:
            raise invalid("config.system_prompt", "a system prompt holds at most 32 KiB")
        return "", message.system_prompt
    name = message.persona or default_persona
    if name not in personas:
        raise invalid("config.persona", f"there is no such persona; known are {', '.join(personas)}")
    return name, personas[name].system_prompt


def _output_modes(message: config_pb2.ConversationConfig) -> tuple[bool, bool]:
    """Whether the client wants text, and whether it wants audio."""
    modes = set(message.output_modes)
    if not modes <= {config_pb2.OUTPUT_MODE_TEXT, config_pb2.OUTPUT_MODE_AUDIO}:
        raise invalid("config.output_modes", "output_modes are TEXT and AUDIO")
    return (
        not modes or config_pb2.OUTPUT_MODE_TEXT in modes,
        not modes or config_pb2.OUTPUT_MODE_AUDIO in modes,
    )


def _audio_format(message: config_pb2.ConversationConfig, field: str, default: AudioFormat) -> AudioFormat:
    if not message.HasField(field):  # type: ignore[arg-type]
        return default
    given: audio_pb2.AudioFormat = getattr(message, field)
    encoding = wire.encoding_from_wire(given.encoding)
    if encoding is None:
        raise invalid(
            f"config.{field}.encoding", "a conversation speaks PCM_S16LE, PCM_F32LE, MULAW, ALAW or OPUS"
        )
    if not 8000 <= given.sample_rate_hertz <= 48_000:
        raise invalid(f"config.{field}.sample_rate_hertz", "sample_rate_hertz is 8000 to 48000")
    if given.channel_count not in ((0, 1, 2) if field == "input_audio" else (0, 1)):
        raise invalid(f"config.{field}.channel_count", "channel_count is 1, or for input 2")
    return AudioFormat(encoding, given.sample_rate_hertz, given.channel_count or 1)


def _listening(message: config_pb2.ConversationConfig) -> ListeningRequest:
    options, turns = message.recognition, message.turn_taking
    languages = list(options.language_codes or message.language_codes)
    if len(languages) > 8 or any(len(code) > 64 for code in languages):
        raise invalid("config.language_codes", "at most 8 languages, each of at most 64 characters")
    if len(options.hot_words) > 200 or any(len(word) > 64 for word in options.hot_words):
        raise invalid("config.recognition.hot_words", "at most 200 hot-words of at most 64 characters")
    if turns.speech_threshold and not 0.05 <= turns.speech_threshold <= 0.95:
        raise invalid("config.turn_taking.speech_threshold", "speech_threshold is 0.05 to 0.95")
    return ListeningRequest(
        input_audio=_audio_format(message, "input_audio", _INPUT_DEFAULT),
        model=_name(options.model, "config.recognition.model"),
        language_codes=languages,
        hot_words=list(options.hot_words),
        is_manual=turns.detection == config_pb2.TURN_DETECTION_PUSH_TO_TALK,
        end_silence_ms=_end_silence_ms(turns),
        speech_threshold=turns.speech_threshold,
    )


def _end_silence_ms(turns: config_pb2.TurnTakingOptions) -> int:
    if not turns.HasField("end_silence_min_duration"):
        return _END_SILENCE_DEFAULT_MS
    value = round(wire.milliseconds(turns.end_silence_min_duration))
    if not 100 <= value <= 10_000:
        raise invalid(
            "config.turn_taking.end_silence_min_duration", "end_silence_min_duration is 100 ms to 10 s"
        )
    return value


def _generation(options: generation_pb2.GenerationOptions, system_prompt: str) -> GenerationRequest:
    if len(options.stop) > 8 or not all(1 <= len(text) <= 64 for text in options.stop):
        raise invalid("config.generation.stop", "at most 8 stop texts of 1 to 64 characters")
    return GenerationRequest(
        system_prompt=system_prompt,
        messages=(),
        model=_name(options.model, "config.generation.model"),
        temperature=_within(options, "temperature", "generation", 0, 2),
        top_p=_within(options, "top_p", "generation", 0.001, 1),
        top_k=_whole(options, "top_k", "generation", 1, 1000),
        repeat_penalty=_within(options, "repeat_penalty", "generation", 0.5, 2),
        seed=options.seed if options.HasField("seed") else None,
        stop=list(options.stop),
        max_tokens=_max_tokens(options.max_tokens),
    )


def _max_tokens(value: int) -> int:
    if not 0 <= value <= 8192:
        raise invalid("config.generation.max_tokens", "max_tokens is 1 to 8192")
    return value


def _speaking(options: synthesis_pb2.SynthesisOptions, output_audio: AudioFormat) -> SpeakingRequest:
    return SpeakingRequest(
        output_audio=output_audio,
        voice=_name(options.voice, "config.synthesis.voice"),
        speed=_within(options, "speed", "synthesis", 0.25, 4),
        pitch=_within(options, "pitch", "synthesis", 0.5, 2),
        volume=_within(options, "volume", "synthesis", 0, 2),
        seed=options.seed if options.HasField("seed") else None,
        language_code=_name(options.language_code, "config.synthesis.language_code"),
    )


def _policy(turns: config_pb2.TurnTakingOptions, *, speaks: bool) -> TurnPolicy:
    end_silence_ms = _end_silence_ms(turns)
    return TurnPolicy(
        speaks=speaks,
        end_silence_min_ms=end_silence_ms,
        # Only a watchdog in this version: the recogniser alone ends utterances, and is given ample time to do so.
        end_silence_max_ms=min(10_000, end_silence_ms + 2_000),
        detection=TurnDetection.PUSH_TO_TALK
        if turns.detection == config_pb2.TURN_DETECTION_PUSH_TO_TALK
        else TurnDetection.AUTOMATIC,
        barge_in=BargeIn.OFF if turns.barge_in == config_pb2.BARGE_IN_OFF else BargeIn.ON_ONSET,
    )


def _name(value: str, field: str) -> str:
    if len(value) > 128:
        raise invalid(field, "names have at most 128 characters")
    return value


def _within(options: Message, name: str, group: str, low: float, high: float) -> float | None:
    """The optional number, or None when it is not set."""
    if not options.HasField(name):
        return None
    value = float(getattr(options, name))
    if not low <= value <= high:  # NaN fails too
        raise invalid(f"config.{group}.{name}", f"{name} is {low:g} to {high:g}")
    return value


def _whole(options: Message, name: str, group: str, low: int, high: int) -> int | None:
    value = _within(options, name, group, low, high)
    return None if value is None else int(value)
