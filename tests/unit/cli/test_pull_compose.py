"""compose.yaml names the models that its one-shot fetches: what a pull says to set is what is set there."""

import re
from pathlib import Path

import pytest
import yaml

from parley_cli.pulling.catalogue import ModelEntry, read_catalogue
from parley_cli.pulling.usage import variables

COMPOSE = yaml.safe_load((Path(__file__).parents[3] / "compose.yaml").read_text())


def default_of(value: str) -> str:
    """What `${NAME-value}` and `${NAME:-value}` are where nobody sets NAME."""
    return re.sub(r"\$\{[A-Z_]+:?-([^}]*)\}", r"\1", value)


@pytest.mark.parametrize("entry", read_catalogue(None, "").chosen([]), ids=lambda entry: entry.name)
def test_the_default_models_are_those_that_compose_sets(entry: ModelEntry) -> None:
    folder = Path(COMPOSE["services"]["models"]["command"][-1])
    for name, value in variables(entry, folder / entry.name).items():
        service = name.split("_")[1].lower()
        assert default_of(COMPOSE["services"][service]["environment"][name]) == value, name


def test_the_one_shot_pulls_the_chat_model_that_llm_asks_for() -> None:
    model = COMPOSE["services"]["models"]["environment"]["PARLEY_OLLAMA_MODEL"]
    assert default_of(model) == default_of(COMPOSE["services"]["llm"]["environment"]["PARLEY_LLM_MODEL"])
    assert re.findall(r"\$\{([A-Z_]+)", model) == ["PARLEY_LLM_MODEL"]
