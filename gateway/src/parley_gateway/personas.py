"""Who can answer: the personas of a gateway, built in or from the operator's file. A leaf of the gateway."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parley_servicekit.faults import Fault, FaultCode

_FILE_MAX_BYTES = 4 << 20


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
            raise ValueError("it is larger than 4 MiB")
        rows = [_PersonaRow.model_validate(row) for row in json.loads(file.read_text(encoding="utf-8"))]
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        problem = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise _unusable(problem) from None
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(str(error)) from None
    return personas | {row.name: Persona(row.name, row.description, row.system_prompt) for row in rows}


def _unusable(problem: str) -> Fault:
    return Fault(
        "PERSONAS_FILE_INVALID",
        f"PARLEY_GATEWAY_PERSONAS_FILE cannot be used: {problem}",
        code=FaultCode.FAILED_PRECONDITION,
    )
