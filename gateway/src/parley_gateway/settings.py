"""Settings of the gateway: `PARLEY_GATEWAY_*`, read once by `__main__`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from parley_servicekit.settings import Port, ProcessSettings


class Settings(ProcessSettings):
    """What the operator decides about the gateway."""

    model_config = SettingsConfigDict(env_prefix="PARLEY_GATEWAY_")

    port: Port = 50050
    """gRPC port."""
    metrics_port: Port = 9464
    """Port of /metrics /healthz /readyz."""
    asr_target: str = Field("127.0.0.1:50051", min_length=1, max_length=500)
    """gRPC target of the asr service: `host:port` or `dns:///name:port`."""
    llm_target: str = Field("127.0.0.1:50052", min_length=1, max_length=500)
    """gRPC target of the llm service."""
    tts_target: str = Field("127.0.0.1:50053", min_length=1, max_length=500)
    """gRPC target of the tts service."""
    services_ca_file: Path | None = None
    """PEM certificates of those who sign the services: with it, the gateway speaks TLS to them."""
    services_cert_file: Path | None = None
    """PEM certificate of the gateway for services that ask for one."""
    services_key_file: Path | None = None
    """PEM key that goes with it."""
    store: Literal["sqlite", "redis", "memory"] = "sqlite"
    """Where conversations are kept. memory forgets them when the process ends: for tests."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Address of Redis, with user and password where it wants them. Setting it chooses the redis store."""
    state_folder: Path | None = None
    """Where the SQLite file and the queue for times without a store lie; default: the user's XDG state folder."""
    conversation_kept_hours: int = Field(30 * 24, ge=1, le=10 * 366 * 24)
    """How long a conversation is kept after the last thing said."""
    session_max_count: int = Field(100, ge=1, le=10_000)
    """Sessions at once; more are refused with AT_CAPACITY."""
    answer_deadline_ms: int = Field(120_000, ge=1000, le=3_600_000)
    """The longest that the chat model may write at one answer."""
    reply_deadline_ms: int = Field(600_000, ge=1000, le=3_600_000)
    """The longest that one reply may be spoken."""
    personas_file: Path | None = None
    """JSON list of {name, description, system_prompt} on top of the built-in personas."""
    default_persona: str = Field("companion", min_length=1, max_length=64)
    """Who answers when a client does not say."""

    @model_validator(mode="before")
    @classmethod
    def _redis_by_url(cls, values: dict[str, object]) -> dict[str, object]:
        if "redis_url" in values and "store" not in values:
            return {**values, "store": "redis"}
        return values
