"""VoiceList: by name, by language, and refusals that help."""

import pytest

from parley_servicekit.faults import Fault
from parley_tts.ports import Voice
from parley_tts.voices import VoiceList


def voice(name: str, *codes: str) -> Voice:
    return Voice(name, "", codes or (name,), 24_000)


LIST = VoiceList(
    [voice("en-gb", "en-gb", "en"), voice("en-us", "en-us", "en"), voice("cmn", "cmn", "zh")], "en-us"
)


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        ("", "", "en-us"),
        ("cmn", "", "cmn"),
        ("", "en", "en-us"),
        ("", "EN-GB", "en-gb"),
        ("", "en-AU", "en-us"),
        ("", "zh-CN", "cmn"),
        ("en-gb", "en", "en-gb"),
        ("en-gb", "en-US", "en-gb"),
    ],
)
def test_chooses(name: str, code: str, expected: str) -> None:
    assert LIST.choose(name, code).name == expected


@pytest.mark.parametrize(
    ("name", "code", "field", "hint"),
    [
        ("en-uk", "", "synthesis.voice", "en-us"),
        ("x" * 5000, "", "synthesis.voice", "ListVoices"),
        ("cmn", "en", "synthesis.language_code", "cmn"),
        ("", "fr", "synthesis.language_code", "no voice"),
        ("", "e n", "synthesis.language_code", "BCP-47"),
    ],
)
def test_refuses_and_says_what_there_is(name: str, code: str, field: str, hint: str) -> None:
    with pytest.raises(Fault) as caught:
        LIST.choose(name, code)
    assert caught.value.field == field and hint in caught.value.message


def test_a_default_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Fault) as caught:
        VoiceList([voice("en")], "de")
    assert caught.value.field == "default_voice"
