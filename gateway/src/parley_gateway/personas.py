"""Who can answer: the personas of a gateway, built in or from the operator's file. A leaf of the gateway."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from parley_servicekit.faults import Fault, FaultCode

_FILE_MAX_BYTES = 4 << 20
_FILE_MAX_COUNT = 900


@dataclass(frozen=True, slots=True)
class Persona:
    """Who answers. The prompt is byte-stable, so that the chat model's prompt cache holds."""

    name: str
    description: str
    system_prompt: str


# The embedded chat model was trained with the first two prompts; bigger models do as well with them.
BUILT_IN = (
    Persona(
        "companion",
        "small talk",
        "You are Parley, a friendly voice companion. Answer in short spoken sentences.",
    ),
    Persona(
        "magic-8-ball",
        "answers any question with a cryptic proverb",
        "You are a magic 8-ball. Answer every question with one short proverb.",
    ),
)


class _PersonaRow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    description: str = Field("", max_length=200)
    system_prompt: str = Field(min_length=1, max_length=32_768)


def load_personas(file: Path | None) -> dict[str, Persona]:
    """The built-in personas, and those of a JSON file: a list of {name, description, system_prompt}.

    Raises Fault FAILED_PRECONDITION, for the operator, when the file cannot be used.
    """
    personas = {persona.name: persona for persona in BUILT_IN}
    if file is None:
        return personas
    try:
        if file.stat().st_size > _FILE_MAX_BYTES:
            raise _unusable("it is larger than 4 MiB")
        rows = TypeAdapter(list[_PersonaRow]).validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _unusable(f"{place}: {first['msg']}" if place else first["msg"]) from None
    except OSError as error:
        raise _unusable(error.strerror or "it cannot be read") from None
    if len(rows) > _FILE_MAX_COUNT:
        raise _unusable(f"it holds more than {_FILE_MAX_COUNT} personas")
    if len({row.name for row in rows}) < len(rows):
        raise _unusable("two personas have the same name")
    return personas | {row.name: Persona(row.name, row.description, row.system_prompt) for row in rows}


def _unusable(problem: str) -> Fault:
    return Fault(
        "PERSONAS_FILE_INVALID",
        f"PARLEY_GATEWAY_PERSONAS_FILE cannot be used: {problem}",
        code=FaultCode.FAILED_PRECONDITION,
    )
