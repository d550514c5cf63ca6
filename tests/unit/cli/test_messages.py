"""The lines that everybody sees, in the language of the environment."""

import string

import pytest
from rich.cells import cell_len

from parley_cli import messages
from parley_cli.messages import message


@pytest.fixture(autouse=True)
def no_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("locale", ["zh_CN.UTF-8", "zh_TW", "ZH"])
def test_a_chinese_environment_gets_chinese(monkeypatch: pytest.MonkeyPatch, locale: str) -> None:
    monkeypatch.setenv("LANG", locale)
    assert message("ready", gateway="host:1") == "已就绪：网关 host:1"


@pytest.mark.parametrize("locale", ["", "C", "en_GB.UTF-8", "de_DE"])
def test_every_other_environment_gets_english(monkeypatch: pytest.MonkeyPatch, locale: str) -> None:
    monkeypatch.setenv("LANG", locale)
    assert message("ready", gateway="host:1") == "ready: gateway host:1"


def test_the_first_variable_that_is_set_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("LC_MESSAGES", "en_GB")
    assert message("stop_with", logs="L").startswith("Ctrl-C here")
    monkeypatch.setenv("LC_ALL", "zh_CN")
    assert "停止" in message("stop_with", logs="L")


def test_both_languages_have_the_same_lines_with_the_same_values() -> None:
    def fields(text: str) -> set[str | None]:
        return {field for _, field, _, _ in string.Formatter().parse(text)} - {None}

    assert messages.ENGLISH.keys() == messages.CHINESE.keys()
    for key, english in messages.ENGLISH.items():
        assert fields(english) == fields(messages.CHINESE[key]), key


@pytest.mark.parametrize("lines", [messages.ENGLISH, messages.CHINESE], ids=["english", "chinese"])
def test_how_to_go_on_fits_80_columns(lines: dict[str, str]) -> None:
    wide = [line for line in lines["demo_next"].splitlines() if cell_len(line) > 79]
    assert not wide


def test_a_line_that_is_none_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        message("no_such_line")
