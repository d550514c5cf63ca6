"""The voices of GPT-SoVITS: reference clips by name, from the JSON file that the operator gives.

    {"voices": [{"name": "anna", "reference_audio_path": "/voices/anna.wav",
                 "reference_text": "What is said in the clip.", "reference_language": "en",
                 "language_codes": ["en", "zh"], "description": "calm"}]}

Called by `gpt_sovits`. Paths are the GPT-SoVITS server's own; it wants clips of 3 to 10 seconds.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from parley_tts import faults

_FILE_MAX_BYTES = 1 << 20
# GPT-SoVITS's own names; the server does not fold case.
_LANGUAGES = {"zh": "zh", "cmn": "zh", "en": "en", "ja": "ja", "ko": "ko", "yue": "yue"}


class ReferenceVoice(BaseModel):
    """One voice. language_codes: what it may be asked to speak; empty = the clip's language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
    reference_audio_path: str = Field(min_length=1, max_length=4096)
    reference_text: str = Field(default="", max_length=2000)
    reference_language: str
    language_codes: tuple[str, ...] = ()
    description: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _check_languages(self) -> Self:
        for code in (self.reference_language, *self.language_codes):
            if server_language(code) is None:
                raise ValueError("GPT-SoVITS speaks zh, en, ja, ko and yue")
        return self


class _VoicesFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    voices: tuple[ReferenceVoice, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if len({voice.name for voice in self.voices}) < len(self.voices):
            raise ValueError("two voices have one name")
        return self


def server_language(code: str) -> str | None:
    """GPT-SoVITS's name of a BCP-47 language; None where it has none."""
    primary, _, rest = code.lower().partition("-")
    if primary == "zh" and any(part in ("hk", "mo", "yue") for part in rest.split("-")):
        return "yue"
    return _LANGUAGES.get(primary)


def read_voices(path: Path) -> tuple[ReferenceVoice, ...]:
    """Raises Fault (FAILED_PRECONDITION) that says what is wrong with the file."""
    try:
        if path.stat().st_size > _FILE_MAX_BYTES:
            raise faults.unusable("the voices file is larger than 1 MiB")
        return _VoicesFile.model_validate_json(path.read_bytes()).voices
    except OSError:
        raise faults.unusable("the voices file cannot be read") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise faults.unusable(
            f"the voices file is wrong at {place or 'its beginning'}: {first['msg']}"
        ) from None
