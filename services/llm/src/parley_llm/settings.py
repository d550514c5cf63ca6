"""The llm process's settings, from `PARLEY_LLM_*` variables. Read once, in `__main__`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import AnyHttpUrl, Field, FilePath, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from parley_llm.validation import MODEL_MAX_CHARS
from parley_servicekit.settings import CommaSeparated, Port, ProcessSettings

_KEY_MAX_BYTES = 16 << 10


class Settings(ProcessSettings):
    """Every field says its unit and why its default is what it is."""

    model_config = SettingsConfigDict(env_prefix="PARLEY_LLM_")

    port: Port = 50052
    metrics_port: Port = 9466

    engine: Literal["embedded", "ollama", "openai", "scripted"] = "embedded"
    """Where answers come from. `embedded` needs neither a download nor another server."""
    model: str = Field("", max_length=1024)
    """The default model. embedded: path of a GGUF file, empty for the one that comes along. ollama, openai: its name
    there. scripted: the script names it."""
    extra_models: CommaSeparated = ()
    """ollama, openai: further models that callers may ask for. None by default: each loads at the others' cost."""
    context_token_count: int | None = Field(None, ge=256, le=1_048_576)
    """Tokens of prompt and answer together. Ollama gets it as num_ctx with every request. Unset: 4096 (less where the
    embedded model was made for less), which Ollama is not told, so that a Modelfile holds."""
    parallel_count: int = Field(4, ge=1, le=256)
    """Answers written at once. ollama: set it to OLLAMA_NUM_PARALLEL, because Ollama queues the rest without limit."""
    queue_max_count: int = Field(16, ge=0, le=10_000)
    """Requests that wait for a slot; more are refused at once."""
    queue_timeout_ms: int = Field(3_000, ge=1, le=600_000)
    """Longest wait for a slot: nobody waits longer than this for somebody who talks."""
    first_token_timeout_ms: int = Field(20_000, ge=1, le=600_000)
    """From the slot to the first text: a long prompt on a slow CPU takes its time."""
    stall_timeout_ms: int = Field(10_000, ge=1, le=600_000)
    """Between two pieces of an answer."""
    answer_timeout_ms: int = Field(120_000, ge=1, le=3_600_000)
    """For a whole answer: 1024 tokens at 10 a second."""
    load_timeout_ms: int = Field(300_000, ge=1, le=3_600_000)
    """For loading a model: Ollama's own limit."""
    connect_timeout_ms: int = Field(2_000, ge=1, le=60_000)
    """For a connection to a model server."""
    check_interval_ms: int = Field(5_000, ge=10, le=600_000)
    """Between two looks at whether the engine can answer."""

    thread_count: int = Field(1, ge=1, le=1024)
    """embedded: threads that compute. One is best for the small model that comes along; others want a core each."""
    ollama_url: AnyHttpUrl = AnyHttpUrl("http://127.0.0.1:11434")
    """ollama: its own default address."""
    ollama_keep_alive_s: int = Field(-1, ge=-1, le=31_536_000)
    """ollama: seconds that a model stays loaded after an answer; -1 for ever, because loading takes longer than anyone
    waits in a conversation."""
    openai_url: AnyHttpUrl | None = None
    """openai: base URL up to and with /v1."""
    openai_api_key: SecretStr | None = None
    """openai: sent as a bearer token. Most servers of one's own need none."""
    openai_api_key_file: FilePath | None = None
    """openai: file with the key, instead of the variable."""
    script_file: FilePath | None = None
    """scripted: JSON file that says what to answer."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models of a server, the default one first."""
        return tuple(dict.fromkeys((self.model, *self.extra_models)))

    def read_openai_api_key(self) -> str:
        """The key, empty where there is none."""
        if self.openai_api_key is not None:
            return self.openai_api_key.get_secret_value()
        if self.openai_api_key_file is None:
            return ""
        return _read_key(self.openai_api_key_file)

    @model_validator(mode="after")
    def _refuse_half_an_engine(self) -> Self:
        if self.engine in ("ollama", "openai"):
            if not all(0 < len(name) <= MODEL_MAX_CHARS for name in self.models):
                raise ValueError(
                    f"{self.variable('model')}: names the model on the server, at most {MODEL_MAX_CHARS} characters"
                )
        elif self.extra_models:
            raise ValueError(f"{self.variable('extra_models')} is only for model servers")
        if self.engine == "openai" and self.openai_url is None:
            raise ValueError(f"{self.variable('openai_url')} is needed with the engine openai")
        if self.engine == "scripted" and self.script_file is None:
            raise ValueError(f"{self.variable('script_file')} is needed with the engine scripted")
        return self

    @model_validator(mode="after")
    def _refuse_bad_key(self) -> Self:
        if self.openai_api_key is not None and self.openai_api_key_file is not None:
            raise ValueError(
                f"{self.variable('openai_api_key')} and {self.variable('openai_api_key_file')} exclude each other"
            )
        key = self.read_openai_api_key()
        if not (key.isascii() and key.isprintable()):
            raise ValueError("the key of the OpenAI-compatible server holds characters that no key has")
        return self


def _read_key(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_KEY_MAX_BYTES).decode("latin-1").strip()
