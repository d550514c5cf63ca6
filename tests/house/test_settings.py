"""Documents speak only of settings that exist, and every setting says why it is what it is."""

import re
from pathlib import Path

import pytest

from parley_asr.settings import Settings as AsrSettings
from parley_gateway.settings import Settings as GatewaySettings
from parley_llm.settings import Settings as LlmSettings
from parley_servicekit.settings import BARE_VARIABLES, ProcessSettings
from parley_tts.settings import Settings as TtsSettings

ROOT = Path(__file__).parents[2]
ALL: list[type[ProcessSettings]] = [GatewaySettings, AsrSettings, LlmSettings, TtsSettings]


def known_variables() -> set[str]:
    return {settings.variable(field) for settings in ALL for field in settings.model_fields} | set(
        BARE_VARIABLES
    )


@pytest.mark.parametrize(
    "document", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("[!.]*/**/README*.md")), ids=str
)
def test_documents_name_only_settings_that_exist(document: Path) -> None:
    named = set(re.findall(r"\bPARLEY_(?:GATEWAY|ASR|LLM|TTS)_[A-Z0-9_]*[A-Z0-9]\b", document.read_text()))
    assert named <= known_variables()


@pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.process_name())
def test_every_setting_is_bounded_and_has_a_default(settings: type[ProcessSettings]) -> None:
    for name, field in settings.model_fields.items():
        assert not field.is_required(), f"{name} has no default: nothing must be set to start"
        if field.annotation is int:
            assert field.metadata, f"{name} has no bounds"


def test_default_ports_do_not_collide() -> None:
    ports = [settings.model_fields[name].default for settings in ALL for name in ("port", "metrics_port")]
    assert sorted(ports) == [9464, 9465, 9466, 9467, 50050, 50051, 50052, 50053]
