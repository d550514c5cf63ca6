"""The compose files, .env.example and Dockerfiles say nothing that the processes' settings do not know."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from parley_asr.settings import Settings as AsrSettings
from parley_gateway.settings import Settings as GatewaySettings
from parley_llm.settings import Settings as LlmSettings
from parley_servicekit.settings import BARE_VARIABLES, ProcessSettings, unknown_variables
from parley_tts.settings import Settings as TtsSettings

ROOT = Path(__file__).parents[2]
FILES = ("compose.yaml", "compose.gpu.yaml", "compose.embedded.yaml")
PROCESSES: dict[str, type[ProcessSettings]] = {
    "gateway": GatewaySettings, "asr": AsrSettings, "llm": LlmSettings, "tts": TtsSettings,
}  # fmt: skip
DOCKERFILES = {
    name: (ROOT / ("gateway" if name == "gateway" else f"services/{name}") / "Dockerfile").read_text()
    for name in PROCESSES
}
_INTERPOLATED = re.compile(r"\$\{([A-Z0-9_]+)(?::?-([^}]*))?\}")


def text_of(file: str) -> str:
    """The file without its comments."""
    return re.sub(r"(?m)(^|\s)#.*$", "", (ROOT / file).read_text())


def services(file: str) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / file).read_text())["services"]
    return services


def variables_of(settings: type[ProcessSettings]) -> list[str]:
    return [settings.variable(field) for field in settings.model_fields]


def every_variable() -> set[str]:
    return {name for settings in PROCESSES.values() for name in variables_of(settings)}


def examples() -> dict[str, str]:
    """What .env.example shows: name and value of every commented assignment."""
    found = re.findall(r"(?m)^#?([A-Z][A-Z0-9_]*)=(.*)$", (ROOT / ".env.example").read_text())
    assert len(dict(found)) == len(found), "a variable is there twice"
    return dict(found)


@pytest.mark.parametrize("file", FILES)
def test_each_process_is_given_only_settings_of_its_own(file: str) -> None:
    for name, settings in PROCESSES.items():
        environment = services(file).get(name, {}).get("environment", {})
        problems = unknown_variables(environment, settings.env_prefix(), variables_of(settings))
        assert problems == [], name
        ours = [variable for variable in environment if variable.startswith("PARLEY_")]
        assert all(variable.startswith(settings.env_prefix()) for variable in ours), name


def test_a_misspelt_variable_would_be_found() -> None:
    [problem] = unknown_variables({"PARLEY_ASR_ENGIN": "x"}, "PARLEY_ASR_", variables_of(AsrSettings))
    assert "did you mean PARLEY_ASR_ENGINE?" in problem


@pytest.mark.parametrize("name", PROCESSES)
def test_values_of_the_embedded_stack_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in services("compose.embedded.yaml")[name]["environment"].items():
        monkeypatch.setenv(variable, _INTERPOLATED.sub(lambda each: each[2], value))
    PROCESSES[name]()


def test_what_files_leave_to_the_environment_is_explained_in_the_example() -> None:
    defaults: dict[str, set[str]] = {}
    for name, default in (each for file in FILES for each in _INTERPOLATED.findall(text_of(file))):
        defaults.setdefault(name, set()).add(default)
    for name, said in defaults.items():
        assert examples()[name] in said, name


def test_the_example_names_only_what_something_reads() -> None:
    interpolated = {name for file in FILES for name, _ in _INTERPOLATED.findall(text_of(file))}
    for name in examples():
        assert name in every_variable() | interpolated, name
        # Every process is given the whole .env, and would refuse this.
        assert name in every_variable() or not name.startswith("PARLEY_") or name in BARE_VARIABLES, name


@pytest.mark.parametrize("file", FILES)
def test_nothing_is_published_but_on_loopback(file: str) -> None:
    for name, service in services(file).items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service.get("network_mode") is None, name
        assert not service.get("privileged"), name


@pytest.mark.parametrize("file", FILES)
def test_no_file_holds_a_secret(file: str) -> None:
    for name, service in services(file).items():
        for variable, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD|SECRET|TOKEN$|API_KEY$", variable), f"{name} {variable}"
            assert not re.search(r"://[^/]*:[^/]*@", str(value)), f"{name} {variable}"


@pytest.mark.parametrize("file", FILES)
def test_every_folder_and_volume_that_is_mounted_is_there(file: str) -> None:
    whole = yaml.safe_load((ROOT / file).read_text())
    for name, service in whole["services"].items():
        for mount in service.get("volumes", []):
            source = _INTERPOLATED.sub("$", mount).split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
            elif source != "$":
                declared = (
                    whole.get("volumes", {}) | yaml.safe_load((ROOT / "compose.yaml").read_text())["volumes"]
                )
                assert source in declared, f"{name}: {source}"


def test_a_container_is_killed_only_after_its_process_has_drained() -> None:
    for name, settings in PROCESSES.items():
        service = services("compose.embedded.yaml")[name]
        drain_ms = service["environment"].get(
            settings.variable("drain_grace_ms"), settings.model_fields["drain_grace_ms"].default
        )
        grace = re.fullmatch(r"(\d+)s", service["stop_grace_period"])
        assert grace is not None
        assert int(grace[1]) * 1000 >= int(drain_ms) + 5_000, name


@pytest.mark.parametrize("name", PROCESSES)
def test_images_listen_where_settings_say_and_run_as_nobody(name: str) -> None:
    settings, image = PROCESSES[name], DOCKERFILES[name]
    ports = [settings.model_fields[field].default for field in ("port", "metrics_port")]
    assert f"{settings.variable('port')}={ports[0]} " in image
    assert re.search(rf"(?m){settings.variable('metrics_port')}={ports[1]}$", image)
    assert f"EXPOSE {ports[0]} {ports[1]}\n" in image
    assert "\nUSER 10001:10001\n" in image
    assert f'"parley_servicekit.healthcheck", "{name}"]' in image
    assert f'\nENTRYPOINT ["parley-{name}"]\n' in image, "exec form: a shell would keep SIGTERM"
    assert set(re.findall(r"\bPARLEY_[A-Z_]+", image)) <= set(variables_of(settings))
