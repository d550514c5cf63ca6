"""Settings: read from the environment, strict about names, silent about values."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from parley_servicekit.settings import (
    CommaSeparated,
    Port,
    ProcessSettings,
    SettingsError,
    is_loopback,
    load_settings,
    may_bind,
    read_settings,
    unknown_variables,
)

SECRET = "hunter2"


class Settings(ProcessSettings):
    model_config = SettingsConfigDict(env_prefix="PARLEY_ASR_")
    port: Port = 50051
    api_token: SecretStr = SecretStr("")
    languages: CommaSeparated = ("en",)
    slot_count: int = 4


class KeyedSettings(Settings):
    keys: bool = False

    @property
    def has_keys(self) -> bool:
        return self.keys


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("PARLEY_"):
            monkeypatch.delenv(name)


def problems(settings_class: type[ProcessSettings] = Settings) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_settings(settings_class)
    return caught.value.problems


def test_defaults_are_safe() -> None:
    settings = read_settings(Settings)
    assert (settings.host, settings.port, settings.languages) == ("127.0.0.1", 50051, ("en",))
    assert (settings.process_name(), settings.variable("port")) == ("asr", "PARLEY_ASR_PORT")
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_variables_set_fields_and_empty_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_ASR_PORT", "0")
    monkeypatch.setenv("PARLEY_ASR_LANGUAGES", "en, zh ,")
    monkeypatch.setenv("PARLEY_ASR_SLOT_COUNT", "")
    settings = read_settings(Settings)
    assert (settings.port, settings.languages, settings.slot_count) == (0, ("en", "zh"), 4)


def test_a_misspelt_variable_is_refused_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_ASR_SLOT_CUONT", "4")
    assert problems() == ["PARLEY_ASR_SLOT_CUONT: no such setting; did you mean PARLEY_ASR_SLOT_COUNT?"]


def test_a_variable_of_no_process_is_refused_and_those_of_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "PARLEY_TTS_ANYTHING",
        "PARLEY_GATEWAY",
        "PARLEY_GATEWAY_X",
        "PARLEY_API_KEY",
        "PARLEY_HOME",
    ):
        monkeypatch.setenv(name, "x")
    read_settings(Settings)
    monkeypatch.setenv("PARLEY_ARS_PORT", "1")
    monkeypatch.setenv("PARLEY_NONSENSE", "1")
    assert problems() == [
        "PARLEY_ARS_PORT: no such setting; did you mean PARLEY_ASR_PORT?",
        "PARLEY_NONSENSE: no such setting",
    ]


@given(st.from_regex(r"PARLEY_ASR_[A-Z_]{1,30}", fullmatch=True))
def test_only_known_names_of_ones_own_pass(name: str) -> None:
    known = {"PARLEY_ASR_PORT", "PARLEY_ASR_HOST"}
    assert bool(unknown_variables({name: SECRET}, "PARLEY_ASR_", known)) == (name not in known)


def test_all_problems_are_told_at_once_and_no_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARLEY_ASR_PORT", "70000")
    monkeypatch.setenv("PARLEY_ASR_SLOT_COUNT", SECRET)
    monkeypatch.setenv("PARLEY_ASR_LOG_LEVEL", SECRET)
    monkeypatch.setenv("PARLEY_ASR_API_TOKN", SECRET)
    with pytest.raises(SystemExit) as caught:
        load_settings(Settings)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert [line.partition(":")[0] for line in told.splitlines()] == [
        "PARLEY_ASR_API_TOKN",
        "PARLEY_ASR_PORT",
        "PARLEY_ASR_LOG_LEVEL",
        "PARLEY_ASR_SLOT_COUNT",
    ]
    assert SECRET not in told


def test_a_file_that_is_not_there_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARLEY_ASR_TLS_CERT_FILE", str(tmp_path / "missing.pem"))
    assert problems() == ["PARLEY_ASR_TLS_CERT_FILE: Path does not point to a file"]


def test_half_a_tls_setting_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("x")
    monkeypatch.setenv("PARLEY_ASR_TLS_CERT_FILE", str(tmp_path / "cert.pem"))
    assert problems() == ["PARLEY_ASR_TLS_CERT_FILE and PARLEY_ASR_TLS_KEY_FILE go together"]
    monkeypatch.delenv("PARLEY_ASR_TLS_CERT_FILE")
    monkeypatch.setenv("PARLEY_ASR_TLS_CLIENT_CA_FILE", str(tmp_path / "cert.pem"))
    assert problems() == ["PARLEY_ASR_TLS_CLIENT_CA_FILE needs PARLEY_ASR_TLS_CERT_FILE"]


def test_an_open_address_needs_tls_and_where_there_are_keys_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARLEY_ASR_HOST", "0.0.0.0")
    assert "PARLEY_ASR_HOST is not a loopback address, which needs TLS" in problems()[0]
    monkeypatch.setenv("PARLEY_ASR_ALLOW_INSECURE_BIND", "true")
    assert read_settings(Settings).host == "0.0.0.0"
    monkeypatch.delenv("PARLEY_ASR_ALLOW_INSECURE_BIND")
    for name in ("cert", "key"):
        (tmp_path / f"{name}.pem").write_text("x")
        monkeypatch.setenv(f"PARLEY_ASR_TLS_{name.upper()}_FILE", str(tmp_path / f"{name}.pem"))
    assert read_settings(Settings).host == "0.0.0.0"
    assert "needs TLS and API keys" in problems(KeyedSettings)[0]
    monkeypatch.setenv("PARLEY_ASR_KEYS", "true")
    assert read_settings(KeyedSettings).host == "0.0.0.0"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LocalHost"])
def test_loopback_hosts(host: str) -> None:
    assert is_loopback(host)
    assert may_bind(host, has_tls=False, has_keys=False, allowed=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", "", "127.0.0.1.example.org"])
def test_open_hosts(host: str) -> None:
    assert not is_loopback(host)
    assert not may_bind(host, has_tls=False, has_keys=None, allowed=False)
