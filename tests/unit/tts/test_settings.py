"""Settings: engines with what they need, and nothing that no engine reads."""

import pytest

from parley_servicekit.settings import SettingsError, read_settings
from parley_tts.settings import Settings


def read(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(f"PARLEY_TTS_{name}", value)
    return read_settings(Settings)


def test_nothing_needs_to_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    assert (settings.engine, settings.port, settings.metrics_port) == ("embedded", 50053, 9467)


def test_gpt_sovits_takes_several_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(
        monkeypatch, ENGINE="gpt-sovits", GPT_SOVITS_URL="http://a:9880,http://b:9880", VOICES_FILE=__file__
    )
    assert settings.gpt_sovits_url == ("http://a:9880", "http://b:9880")


def test_choices_of_numbers_are_read_from_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, GPT_SOVITS_SAMPLE_RATE_HZ="48000", GPT_SOVITS_STREAMING_MODE="2")
    assert (settings.gpt_sovits_sample_rate_hz, settings.gpt_sovits_streaming_mode) == (48_000, 2)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"ENGINE": "sherpa"}, "PARLEY_TTS_MODEL_FOLDER"),
        ({"ENGINE": "gpt-sovits"}, "PARLEY_TTS_GPT_SOVITS_URL"),
        ({"GPT_SOVITS_URL": "http://a"}, "PARLEY_TTS_ENGINE"),
        (
            {"ENGINE": "gpt-sovits", "GPT_SOVITS_URL": "http://u:hidden@a", "VOICES_FILE": __file__},
            "GPT_SOVITS_URL",
        ),
        ({"ENGINE": "festival"}, "PARLEY_TTS_ENGINE"),
        ({"MAX_STREAMS": "0"}, "PARLEY_TTS_MAX_STREAMS"),
        ({"GPT_SOVITS_STREAMING_MODE": "4"}, "PARLEY_TTS_GPT_SOVITS_STREAMING_MODE"),
        ({"MAX_STREAM": "5"}, "PARLEY_TTS_MAX_STREAMS"),
    ],
)
def test_wrong_settings_are_refused_by_name_without_their_values(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, **values)
    assert named in str(caught.value) and "hidden" not in str(caught.value)
