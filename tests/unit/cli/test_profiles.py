"""What `parley up` starts, and with what."""

import os

import pytest

from parley_cli.profiles import Profile, child_specs
from parley_cli.supervisor import ChildSpec, SupervisorError, child_environment


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PARLEY_"):
            monkeypatch.delenv(name)


def specs(profile: Profile, *, any_port: bool = False) -> dict[str, ChildSpec]:
    return {spec.name: spec for spec in child_specs(profile, any_port=any_port)}


def test_the_gateway_knows_where_the_services_are() -> None:
    found = specs(Profile.EMBEDDED)
    assert set(found) == {"asr", "llm", "tts", "gateway"}
    assert found["gateway"].port == 50050
    assert found["gateway"].environment == {
        f"PARLEY_GATEWAY_{name.upper()}_TARGET": f"127.0.0.1:{found[name].port}"
        for name in ("asr", "llm", "tts")
    }


def test_the_embedded_profile_sets_no_engine() -> None:
    assert specs(Profile.EMBEDDED)["llm"].environment == {}


def test_the_workstation_profile_sets_ollama() -> None:
    found = specs(Profile.WORKSTATION)
    assert found["llm"].environment == {"PARLEY_LLM_ENGINE": "ollama", "PARLEY_LLM_MODEL": "gemma3"}
    assert found["asr"].environment == {}


def test_what_the_user_has_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_LLM_MODEL", "another")
    assert specs(Profile.WORKSTATION)["llm"].environment == {"PARLEY_LLM_ENGINE": "ollama"}


def test_variables_move_ports_and_the_gateway_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_ASR_PORT", "6001")
    monkeypatch.setenv("PARLEY_ASR_METRICS_PORT", "6002")
    found = specs(Profile.EMBEDDED)
    assert (found["asr"].port, found["asr"].metrics_port) == (6001, 6002)
    assert found["gateway"].environment["PARLEY_GATEWAY_ASR_TARGET"] == "127.0.0.1:6001"


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "5 0", "٣"])
def test_a_variable_that_is_no_port_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("PARLEY_TTS_PORT", port)
    with pytest.raises(SupervisorError, match="PARLEY_TTS_PORT is a port from 1 to 65535"):
        child_specs(Profile.EMBEDDED, any_port=False)


def test_any_port_finds_eight_different_ones_whatever_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_TTS_PORT", "not a port")
    ports = [
        port
        for spec in child_specs(Profile.EMBEDDED, any_port=True)
        for port in (spec.port, spec.metrics_port)
    ]
    assert len(set(ports)) == 8


def test_a_child_is_told_its_own_ports_and_to_say_when_it_is_ready() -> None:
    environment = child_environment(ChildSpec("asr", "parley_asr", 1, 2, {"PARLEY_ASR_ENGINE": "x"}))
    assert environment["PARLEY_ASR_PORT"] == "1"
    assert environment["PARLEY_ASR_METRICS_PORT"] == "2"
    assert environment["PARLEY_ASR_READY_LINE"] == "true"
    assert environment["PARLEY_ASR_ENGINE"] == "x"
