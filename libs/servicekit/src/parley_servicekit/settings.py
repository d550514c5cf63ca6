"""Settings of a process from `PARLEY_<PROCESS>_*` variables: common fields, strict loading.

Each process subclasses `ProcessSettings` and calls `load_settings` once, in its `__main__`:

    class Settings(ProcessSettings):
        model_config = SettingsConfigDict(env_prefix="PARLEY_ASR_")
        port: Port = 50051
        metrics_port: Port = 9465
        model_dir: DirectoryPath | None = None
"""

import difflib
import ipaddress
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, NoReturn, Self, TypeVar

from pydantic import BeforeValidator, Field, FilePath, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from parley_servicekit.logs import LogFormat, LogLevel

PROCESS_PREFIXES = ("PARLEY_GATEWAY_", "PARLEY_ASR_", "PARLEY_LLM_", "PARLEY_TTS_", "PARLEY_CLI_")
BARE_VARIABLES = ("PARLEY_GATEWAY", "PARLEY_API_KEY", "PARLEY_HOME", "PARLEY_OLLAMA_MODEL")

Port = Annotated[int, Field(ge=0, le=65535)]
"""0 lets the system choose a free one (told by the ready line)."""


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
"""A field set as `a,b,c` instead of pydantic's JSON list."""


class SettingsError(Exception):
    """The environment does not make valid settings. `problems`: one line each, without the values."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ProcessSettings(BaseSettings):
    """What every serving process is configured by."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=True)

    host: str = Field(default="127.0.0.1", min_length=1, max_length=253)
    """Address to listen on, gRPC and metrics. Loopback by default: nothing is open to a network unasked."""
    port: Port = 0
    """gRPC port. Each process sets its own default."""
    metrics_port: Port = 0
    """Port of /metrics /healthz /readyz."""
    log_level: LogLevel = "INFO"
    """INFO is a line per turn and per lifecycle step."""
    log_format: LogFormat = "json"
    """`json` for machines, `console` for people at a terminal."""
    tls_cert_file: FilePath | None = None
    """PEM certificate chain of the gRPC server."""
    tls_key_file: FilePath | None = None
    """PEM private key of the gRPC server."""
    tls_client_ca_file: FilePath | None = None
    """PEM certificates of those who sign clients: with it, clients without a certificate are refused."""
    allow_insecure_bind: bool = False
    """Listen on a non-loopback address without TLS (and keys): only inside a private network."""
    drain_grace_ms: int = Field(default=10_000, ge=0, le=600_000)
    """How long running RPCs may go on after SIGTERM: shorter than an orchestrator's kill timer (30 s)."""
    ready_line: bool = False
    """Print one JSON line with the addresses to standard output when ready; a supervisor reads it."""

    @classmethod
    def env_prefix(cls) -> str:
        """`PARLEY_ASR_`."""
        return cls.model_config["env_prefix"].upper()

    @classmethod
    def process_name(cls) -> str:
        """`asr`."""
        return cls.env_prefix().removeprefix("PARLEY_").rstrip("_").lower()

    @classmethod
    def variable(cls, field: str) -> str:
        """The variable that sets `field`."""
        return cls.env_prefix() + field.upper()

    @property
    def has_keys(self) -> bool | None:
        """Whether callers need an API key; None where the process knows no keys. The gateway overrides it."""
        return None

    @model_validator(mode="after")
    def _refuse_half_tls(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError(
                f"{self.variable('tls_cert_file')} and {self.variable('tls_key_file')} go together"
            )
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError(f"{self.variable('tls_client_ca_file')} needs {self.variable('tls_cert_file')}")
        return self

    @model_validator(mode="after")
    def _refuse_insecure_bind(self) -> Self:
        has_tls = self.tls_cert_file is not None
        if not may_bind(self.host, has_tls=has_tls, has_keys=self.has_keys, allowed=self.allow_insecure_bind):
            needed = "TLS" if self.has_keys is None else "TLS and API keys"
            raise ValueError(
                f"{self.variable('host')} is not a loopback address, which needs {needed}, "
                f"or {self.variable('allow_insecure_bind')}=true inside a private network"
            )
        return self


SettingsType = TypeVar("SettingsType", bound=BaseSettings)


def may_bind(host: str, *, has_tls: bool, has_keys: bool | None, allowed: bool) -> bool:
    """Whether a process may listen on `host`. has_keys None: it knows no keys, so TLS alone is asked for."""
    return allowed or is_loopback(host) or (has_tls and has_keys is not False)


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or a loopback address; other names count as reachable from outside."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_settings(settings_class: type[SettingsType]) -> SettingsType:
    """The settings that the environment gives. Raises SettingsError with all problems at once."""
    prefix = str(settings_class.model_config["env_prefix"]).upper()
    fields = [prefix + name.upper() for name in settings_class.model_fields]
    problems = unknown_variables(os.environ, prefix, fields)
    try:
        settings = settings_class()
    except ValidationError as error:
        problems += [
            _describe(prefix, detail) for detail in error.errors(include_input=False, include_context=False)
        ]
    except SourceError as error:
        problems.append(f"{prefix}*: {error}")
    if problems:
        raise SettingsError(problems) from None
    return settings


def load_settings(settings_class: type[SettingsType]) -> SettingsType:
    """`read_settings` for a `__main__`: problems go to standard error, a line each; the exit code is 2."""
    try:
        return read_settings(settings_class)
    except SettingsError as error:
        _exit_with(error.problems)


def unknown_variables(environ: Mapping[str, str], prefix: str, variables: Iterable[str]) -> list[str]:
    """A problem for each variable of this process, or of none, that nothing reads. Names only, no values."""
    known = set(variables)
    problems = []
    for name in sorted(key.upper() for key in environ if key.upper().startswith("PARLEY_")):
        others = any(name.startswith(other) for other in PROCESS_PREFIXES if other != prefix)
        if name in known or name in BARE_VARIABLES or (others and not name.startswith(prefix)):
            continue
        near = difflib.get_close_matches(name, [*known, *BARE_VARIABLES], n=1, cutoff=0.8)
        problems.append(f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    return problems


def _describe(prefix: str, detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    return f"{prefix}{str(detail['loc'][0]).upper()}: {message}"


def _exit_with(problems: list[str]) -> NoReturn:
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201 - logs are not set up yet
    sys.exit(2)
