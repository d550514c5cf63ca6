"""A client's config: every field is honoured or refused by its name, and the effective config says what is in force."""

from collections.abc import Callable, Iterator

import pytest
from google.protobuf.descriptor import Descriptor

from parley.audio.v1 import audio_pb2
from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_gateway.entrypoints.conversation_requests import (
    effective_config,
    refuse_tool_result,
    session_config,
    updated_config,
)
from parley_gateway.personas import load_personas
from parley_gateway.ports import AudioEncoding
from parley_gateway.session.config import SessionConfig
from parley_gateway.turns.policy import BargeIn, TurnDetection
from parley_servicekit.faults import Fault, FaultCode

Config = config_pb2.ConversationConfig
PERSONAS = load_personas(None)

# Every field below ConversationConfig, with a value that is refused for its own sake.
REFUSED: dict[str, Callable[[Config], object]] = {
    "resume": lambda c: c.resume.SetInParent(),
    "greet": lambda c: setattr(c, "greet", True),
    "recognition.punctuation": lambda c: setattr(c.recognition, "punctuation", True),
    "recognition.task": lambda c: setattr(c.recognition, "task", 2),
    "generation.tools": lambda c: c.generation.tools.add(name="x"),
    "generation.tool_choice": lambda c: setattr(c.generation, "tool_choice", 3),
    "turn_taking.end_silence_max_duration": lambda c: c.turn_taking.end_silence_max_duration.FromSeconds(1),
    "turn_taking.no_speech_timeout_duration": lambda c: c.turn_taking.no_speech_timeout_duration.FromSeconds(
        9
    ),
    "turn_taking.eager": lambda c: setattr(c.turn_taking, "eager", True),
    "turn_taking.barge_in": lambda c: setattr(c.turn_taking, "barge_in", 3),
}
# Fields that are honoured, with a value that is out of range (None: any value is fine, or the store's to judge).
HONOURED: dict[str, Callable[[Config], object] | None] = {
    "conversation_id": None,
    "input_audio": lambda c: c.input_audio.SetInParent(),
    "output_audio": lambda c: c.output_audio.SetInParent(),
    "language_codes": lambda c: c.language_codes.extend(["en"] * 9),
    "persona": lambda c: setattr(c, "persona", "nobody"),
    "system_prompt": lambda c: setattr(c, "system_prompt", "x" * 40_000),
    "output_modes": lambda c: c.output_modes.append(0),
    "recognition.model": lambda c: setattr(c.recognition, "model", "x" * 200),
    "recognition.language_codes": lambda c: c.recognition.language_codes.append("x" * 100),
    "recognition.hot_words": lambda c: c.recognition.hot_words.append("x" * 65),
    "generation.model": lambda c: setattr(c.generation, "model", "x" * 200),
    "generation.temperature": lambda c: setattr(c.generation, "temperature", 2.1),
    "generation.top_p": lambda c: setattr(c.generation, "top_p", 0.0),
    "generation.top_k": lambda c: setattr(c.generation, "top_k", 0),
    "generation.repeat_penalty": lambda c: setattr(c.generation, "repeat_penalty", float("nan")),
    "generation.seed": None,
    "generation.stop": lambda c: c.generation.stop.append(""),
    "generation.max_tokens": lambda c: setattr(c.generation, "max_tokens", 9000),
    "synthesis.voice": lambda c: setattr(c.synthesis, "voice", "x" * 200),
    "synthesis.speed": lambda c: setattr(c.synthesis, "speed", 0.1),
    "synthesis.pitch": lambda c: setattr(c.synthesis, "pitch", float("inf")),
    "synthesis.volume": lambda c: setattr(c.synthesis, "volume", -1.0),
    "synthesis.seed": None,
    "synthesis.language_code": lambda c: setattr(c.synthesis, "language_code", "x" * 200),
    "turn_taking.detection": lambda c: setattr(c.turn_taking, "detection", 77),
    "turn_taking.end_silence_min_duration": lambda c: c.turn_taking.end_silence_min_duration.FromMilliseconds(
        99
    ),
    "turn_taking.speech_threshold": lambda c: setattr(c.turn_taking, "speech_threshold", float("nan")),
}


def paths(descriptor: Descriptor, prefix: str = "") -> Iterator[str]:
    for field in descriptor.fields:
        if field.name in ("recognition", "generation", "synthesis", "turn_taking"):
            yield from paths(field.message_type, f"{field.name}.")
        else:
            yield prefix + field.name


def of(message: Config | None = None) -> SessionConfig:
    return session_config(message or Config(), PERSONAS, "companion")


def test_every_field_of_the_contract_is_either_honoured_or_refused() -> None:
    assert set(paths(Config.DESCRIPTOR)) == set(REFUSED) | set(HONOURED)


@pytest.mark.parametrize("path", [*REFUSED, *(path for path, spoil in HONOURED.items() if spoil)])
def test_what_cannot_be_honoured_is_refused_by_the_name_of_its_field(path: str) -> None:
    message = Config()
    spoil = REFUSED.get(path) or HONOURED[path]
    assert spoil is not None
    spoil(message)
    with pytest.raises(Fault) as refusal:
        of(message)
    assert refusal.value.code is FaultCode.INVALID_ARGUMENT
    named = {f"config.{path}", f"config.{path}.encoding"}
    if path == "recognition.language_codes":
        named.add("config.language_codes")
    assert refusal.value.field in named


@pytest.mark.parametrize("path", ["recognition.task", "turn_taking.barge_in", "turn_taking.detection"])
def test_a_choice_of_a_newer_version_is_refused(path: str) -> None:
    message = Config()
    group, name = path.split(".")
    setattr(getattr(message, group), name, 99)
    with pytest.raises(Fault) as refusal:
        of(message)
    assert refusal.value.field == f"config.{path}"


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "channels", "field"),
    [
        (6, 16_000, 1, "encoding"),
        (99, 16_000, 1, "encoding"),
        (1, 7_999, 1, "sample_rate_hertz"),
        (1, 48_001, 1, "sample_rate_hertz"),
        (1, 16_000, 3, "channel_count"),
        (1, 16_000, -1, "channel_count"),
    ],
)
def test_audio_formats_are_checked(encoding: int, rate_hz: int, channels: int, field: str) -> None:
    for name in ("input_audio", "output_audio"):
        message = Config()
        getattr(message, name).MergeFrom(
            audio_pb2.AudioFormat(encoding=encoding, sample_rate_hertz=rate_hz, channel_count=channels)  # type: ignore[arg-type]
        )
        with pytest.raises(Fault) as refusal:
            of(message)
        assert refusal.value.field == f"config.{name}.{field}"


def test_an_empty_config_has_the_documented_defaults() -> None:
    effective = effective_config(of(), "c1")
    assert effective.conversation_id == "c1"
    assert effective.persona == "companion"
    assert (effective.input_audio.encoding, effective.input_audio.sample_rate_hertz) == (1, 16_000)
    assert (effective.output_audio.encoding, effective.output_audio.sample_rate_hertz) == (1, 24_000)
    assert effective.turn_taking.detection == config_pb2.TURN_DETECTION_AUTOMATIC
    assert effective.turn_taking.barge_in == config_pb2.BARGE_IN_ON_ONSET
    assert effective.turn_taking.end_silence_min_duration.ToMilliseconds() == 600
    assert effective.turn_taking.speech_threshold == 0.5
    assert list(effective.output_modes) == [config_pb2.OUTPUT_MODE_TEXT, config_pb2.OUTPUT_MODE_AUDIO]


def test_what_a_client_chooses_is_what_is_in_force() -> None:
    message = Config(
        language_codes=["de"],
        system_prompt="be kind",
        input_audio=audio_pb2.AudioFormat(encoding=5, sample_rate_hertz=48_000, channel_count=2),  # type: ignore[arg-type]
        output_modes=[config_pb2.OUTPUT_MODE_TEXT],
    )
    message.turn_taking.detection = config_pb2.TURN_DETECTION_PUSH_TO_TALK
    message.turn_taking.barge_in = config_pb2.BARGE_IN_OFF
    message.turn_taking.end_silence_min_duration.FromMilliseconds(900)
    message.generation.temperature = 0.5
    message.generation.seed = 0
    message.synthesis.voice = "soft"
    config = of(message)
    assert config.listening.input_audio.encoding is AudioEncoding.OPUS
    assert config.listening.is_manual
    assert (config.policy.detection, config.policy.barge_in) == (TurnDetection.PUSH_TO_TALK, BargeIn.OFF)
    assert (config.generation.temperature, config.generation.seed, config.generation.top_p) == (0.5, 0, None)
    assert config.generation.system_prompt == "be kind"
    assert config.speaking.voice == "soft"
    assert (config.wants_text, config.wants_audio, config.policy.speaks) == (True, False, False)
    effective = effective_config(config, "c1")
    assert effective.WhichOneof("character") is None, "a client's own prompt is not sent back"
    assert effective.turn_taking.end_silence_min_duration.ToMilliseconds() == 900
    assert effective.turn_taking.barge_in == config_pb2.BARGE_IN_OFF
    assert list(effective.language_codes) == ["de"]
    assert effective.input_audio.channel_count == 2
    assert effective.generation.temperature == 0.5
    assert effective.generation.HasField("seed")
    assert not effective.generation.HasField("top_p")
    assert effective.synthesis.voice == "soft"


def update(*mask: str, **fields: object) -> config_pb2.ConfigUpdate:
    message = config_pb2.ConfigUpdate(config=Config(**fields))  # type: ignore[arg-type]
    message.update_mask.paths.extend(mask)
    return message


def test_an_update_changes_what_its_mask_names_and_nothing_else() -> None:
    before = of(Config(system_prompt="be kind"))
    message = update("generation")
    message.config.generation.max_tokens = 5
    message.config.synthesis.voice = "other"
    after = updated_config(before, message, PERSONAS, "companion")
    assert after.generation.max_tokens == 5
    assert after.generation.system_prompt == "be kind"
    assert after.speaking == before.speaking


def test_a_persona_can_be_changed() -> None:
    after = updated_config(of(), update("persona", persona="magic-8-ball"), PERSONAS, "companion")
    assert after.persona == "magic-8-ball"
    assert after.generation.system_prompt == PERSONAS["magic-8-ball"].system_prompt


@pytest.mark.parametrize("mask", [(), ("input_audio",), ("persona", "turn_taking"), ("generation.seed",)])
def test_an_update_of_what_cannot_change_is_refused(mask: tuple[str, ...]) -> None:
    with pytest.raises(Fault) as refusal:
        updated_config(of(), update(*mask), PERSONAS, "companion")
    assert refusal.value.field == "update.update_mask"


def test_a_tool_result_is_refused_by_name() -> None:
    assert refuse_tool_result(pb2.ToolResult()).field == "tool_result"
