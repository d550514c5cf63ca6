"""Files that an operator writes: the scripted engine's script, GPT-SoVITS's voices."""

import json
from pathlib import Path
from typing import Any

import pytest

from parley_servicekit.faults import Fault, FaultCode
from parley_tts.engines.gpt_sovits_voices import read_voices, server_language
from parley_tts.engines.scripted import SpeechScript, read_script

VOICE = {
    "name": "anna",
    "reference_audio_path": "/v/a.wav",
    "reference_text": "Hi.",
    "reference_language": "en",
}


def write(folder: Path, content: Any) -> Path:
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_script_is_read(tmp_path: Path) -> None:
    assert read_script(write(tmp_path, {"tone_hertz": 0})) == SpeechScript(tone_hertz=0)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("", "beginning"),
        ({"tone": 1}, "tone"),
        ({"failures": [{"phrase": 0}]}, "failures.0.phrase"),
        ({"voices": []}, "voices"),
        (" " * ((1 << 20) + 1), "1 MiB"),
    ],
)
def test_a_wrong_script_is_refused_with_its_place(tmp_path: Path, content: Any, hint: str) -> None:
    with pytest.raises(Fault) as caught:
        read_script(write(tmp_path, content))
    assert caught.value.code is FaultCode.FAILED_PRECONDITION and hint in caught.value.message


def test_voices_are_read(tmp_path: Path) -> None:
    (voice,) = read_voices(write(tmp_path, {"voices": [VOICE]}))
    assert voice.reference_text == "Hi."


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ({"voices": []}, "voices"),
        ({"voices": [VOICE, VOICE]}, "one name"),
        ({"voices": [{**VOICE, "name": "a b"}]}, "voices.0.name"),
        ({"voices": [{**VOICE, "reference_language": "fr"}]}, "zh, en, ja, ko and yue"),
        ({"voices": [{**VOICE, "language_codes": ["en", "de"]}]}, "zh, en, ja, ko and yue"),
        ({"voices": [{**VOICE, "reference_audio_path": ""}]}, "reference_audio_path"),
        ({"voices": [{**VOICE, "pitch": 1}]}, "pitch"),
        ("[", "beginning"),
    ],
)
def test_wrong_voices_are_refused_with_their_place(tmp_path: Path, content: Any, hint: str) -> None:
    with pytest.raises(Fault) as caught:
        read_voices(write(tmp_path, content))
    assert caught.value.code is FaultCode.FAILED_PRECONDITION and hint in caught.value.message


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("zh-CN", "zh"),
        ("cmn", "zh"),
        ("zh-Hant-HK", "yue"),
        ("EN-us", "en"),
        ("ja", "ja"),
        ("ko-KR", "ko"),
        ("fr", None),
    ],
)
def test_languages_get_the_servers_names(code: str, expected: str | None) -> None:
    assert server_language(code) == expected
