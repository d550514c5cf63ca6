"""Settings of the tts process, read once by `__main__` from PARLEY_TTS_* variables."""

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, DirectoryPath, Field, FilePath, model_validator
from pydantic_settings import SettingsConfigDict

from parley_servicekit.settings import CommaSeparated, Port, ProcessSettings

_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(?:/[A-Za-z0-9._~/\-]*)?")


def _read_number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


# A choice of numbers takes none from a variable, which is text, unless it is read first.
_Number = BeforeValidator(_read_number)


class Settings(ProcessSettings):
    """What an operator may choose; every field is PARLEY_TTS_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="PARLEY_TTS_")

    port: Port = 50053
    metrics_port: Port = 9467
    engine: Literal["embedded", "sherpa", "gpt-sovits", "scripted"] = "embedded"
    """embedded: espeak-ng; sherpa: the model in `model_folder`; gpt-sovits: the servers at `gpt_sovits_url`
    with the voices of `voices_file`; scripted: `script_file`, for tests."""
    default_voice: str = Field("", max_length=128)
    """Who speaks when a request names no voice; empty = the engine's first (espeak-ng: en-us)."""
    max_streams: int = Field(64, ge=1, le=10_000)
    """Requests at once; more get RESOURCE_EXHAUSTED. 64 replies that begin at once keep a core busy."""
    phrase_timeout_ms: int = Field(60_000, ge=100, le=600_000)
    """Longest making of one phrase, waiting for the engine included, before it counts as failed."""
    text_idle_timeout_ms: int = Field(120_000, ge=100, le=3_600_000)
    """Longest wait for the next text of a live synthesis: a model may think for long."""
    reader_timeout_ms: int = Field(120_000, ge=100, le=3_600_000)
    """Longest time that a caller may leave audio unread: a paused reply waits in the gateway, not here."""
    espeak_child_count: int = Field(2, ge=1, le=64)
    """espeak-ng processes. A phrase takes a few milliseconds, so two serve dozens of streams."""
    model_folder: DirectoryPath | None = None
    """Folder of a sherpa-onnx TTS model (VITS/Piper, Kokoro, Kitten, Matcha). Only with engine=sherpa."""
    model_language: str = Field("en", max_length=35)
    """BCP-47 code of that model's language, which its files do not tell reliably."""
    num_threads: int = Field(2, ge=1, le=64)
    """Threads of one sherpa-onnx synthesis."""
    model_check_timeout_ms: int = Field(120_000, ge=1000, le=3_600_000)
    """Longest trial load of the sherpa-onnx model in a throw-away process at start."""
    gpt_sovits_url: CommaSeparated = ()
    """Base addresses of GPT-SoVITS servers, comma-separated, such as http://127.0.0.1:9880."""
    voices_file: FilePath | None = None
    """JSON file with GPT-SoVITS's reference clips; see engines/gpt_sovits_voices.py."""
    gpt_sovits_sample_rate_hz: Annotated[Literal[24_000, 32_000, 48_000], _Number] = 32_000
    """Of the servers' model: v1, v2, v2Pro 32000; v3 24000; v4 48000. Another rate in an answer is a failure."""
    gpt_sovits_streaming_mode: Annotated[Literal[1, 2, 3], _Number] = 3
    """3: chunks of 0.6 s, earliest audio; 2: cut at silence; 1: whole sentences, best quality."""
    gpt_sovits_seed: int = Field(1, ge=0, lt=1 << 32)
    """Seed of requests that give none, so that a voice stays the same."""
    gpt_sovits_waiting_max: int = Field(16, ge=0, le=1000)
    """Phrases that may wait for a server; a server speaks one at a time."""
    gpt_sovits_wait_timeout_ms: int = Field(10_000, ge=100, le=600_000)
    """Longest wait for a free server."""
    gpt_sovits_settle_ms: int = Field(700, ge=0, le=60_000)
    """How long a server counts as busy after a cancelled request: it finishes its chunk first."""
    gpt_sovits_warm_up: bool = True
    """Have every voice say a word once the servers can be reached: a voice's first use is slow."""
    script_file: FilePath | None = None
    """What the scripted engine does; see engines/scripted.py. Empty = tones."""

    @model_validator(mode="after")
    def _match_engine(self) -> Self:
        for field, engine, is_needed in (
            ("model_folder", "sherpa", True),
            ("gpt_sovits_url", "gpt-sovits", True),
            ("voices_file", "gpt-sovits", True),
            ("script_file", "scripted", False),
        ):
            is_set = bool(getattr(self, field))
            if is_set and self.engine != engine:
                raise ValueError(f"{self.variable(field)} needs {self.variable('engine')}={engine}")
            if is_needed and not is_set and self.engine == engine:
                raise ValueError(f"{self.variable('engine')}={engine} needs {self.variable(field)}")
        if not all(_URL.fullmatch(url) for url in self.gpt_sovits_url):
            raise ValueError(
                f"{self.variable('gpt_sovits_url')} holds http or https addresses without secrets"
            )
        return self
