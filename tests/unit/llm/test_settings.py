"""Settings that cannot work are refused at the start, with the variable's name and without its value."""

from pathlib import Path

import pytest

from parley_llm.settings import Settings
from parley_servicekit.settings import SettingsError, read_settings


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"PARLEY_LLM_{name}", value)
    return read_settings(Settings)


def problems_of(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, **variables)
    return " ".join(caught.value.problems)


def test_it_runs_without_any_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    assert (settings.engine, settings.port, settings.metrics_port) == ("embedded", 50052, 9466)


def test_models_of_a_server_are_the_default_and_the_extra_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, ENGINE="ollama", MODEL="a:1b", EXTRA_MODELS="b, a:1b ,c")
    assert settings.models == ("a:1b", "b", "c")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"ENGINE": "ollama"}, "PARLEY_LLM_MODEL"),
        ({"ENGINE": "openai", "MODEL": "m"}, "PARLEY_LLM_OPENAI_URL"),
        ({"ENGINE": "openai", "MODEL": "m", "OPENAI_URL": "ftp://host"}, "PARLEY_LLM_OPENAI_URL"),
        ({"ENGINE": "scripted"}, "PARLEY_LLM_SCRIPT_FILE"),
        ({"ENGINE": "embedded", "EXTRA_MODELS": "b"}, "PARLEY_LLM_EXTRA_MODELS"),
        ({"ENGINE": "magic"}, "PARLEY_LLM_ENGINE"),
        ({"STALL_TIMEOUT_MS": "0"}, "PARLEY_LLM_STALL_TIMEOUT_MS"),
        ({"OLAMA_URL": "http://x"}, "PARLEY_LLM_OLAMA_URL"),
        ({"OPENAI_API_KEY": "clé"}, "key"),
    ],
)
def test_what_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    assert named in problems_of(monkeypatch, **variables)


def test_the_key_comes_from_one_place_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("hidden\n")
    settings = read(monkeypatch, OPENAI_API_KEY_FILE=str(key_file))
    assert settings.read_openai_api_key() == "hidden"
    assert "exclude each other" in problems_of(monkeypatch, OPENAI_API_KEY="other")
    monkeypatch.delenv("PARLEY_LLM_OPENAI_API_KEY_FILE")
    assert read(monkeypatch).read_openai_api_key() == "other"
    assert "other" not in repr(read(monkeypatch))
