"""The operator's personas file: what is good is added, what is wrong is told in one sentence without a path."""

import json
from pathlib import Path

import pytest

from parley_gateway.personas import BUILT_IN, load_personas
from parley_servicekit.faults import Fault, FaultCode

GOOD = {"name": "pirate", "description": "arr", "system_prompt": "Talk like a pirate."}


def test_without_a_file_there_are_the_built_in_ones() -> None:
    assert list(load_personas(None).values()) == list(BUILT_IN)


def test_a_file_adds_personas_and_may_replace_built_in_ones(tmp_path: Path) -> None:
    file = tmp_path / "personas.json"
    file.write_text(json.dumps([GOOD, GOOD | {"name": "companion"}]), encoding="utf-8")
    personas = load_personas(file)
    assert personas["pirate"].system_prompt == personas["companion"].system_prompt == "Talk like a pirate."
    assert len(personas) == len(BUILT_IN) + 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "JSON"),
        (b"[", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"{}", "array"),
        (b"3", "array"),
        (b'["pirate"]', "0"),
        (json.dumps([GOOD, GOOD | {"name": "Big Name"}]).encode(), "1.name"),
        (json.dumps([GOOD | {"voice": "x"}]).encode(), "0.voice"),
        (json.dumps([{"name": "x"}]).encode(), "0.system_prompt"),
        (json.dumps([GOOD | {"system_prompt": ""}]).encode(), "0.system_prompt"),
        (json.dumps([GOOD | {"system_prompt": "x" * 40_000}]).encode(), "0.system_prompt"),
        (json.dumps([GOOD, GOOD]).encode(), "same name"),
        (json.dumps([GOOD | {"name": f"p{index}"} for index in range(1000)]).encode(), "more than"),
        (b" " * (5 << 20), "4 MiB"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    file = tmp_path / "personas.json"
    file.write_bytes(content)
    with pytest.raises(Fault) as refusal:
        load_personas(file)
    assert refusal.value.code is FaultCode.FAILED_PRECONDITION
    assert problem in refusal.value.message
    assert str(tmp_path) not in refusal.value.message
    assert "PARLEY_GATEWAY_PERSONAS_FILE" in refusal.value.message


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="No such file") as refusal:
        load_personas(tmp_path / "nothing.json")
    assert str(tmp_path) not in refusal.value.message


def test_nothing_of_a_prompt_is_in_the_message(tmp_path: Path) -> None:
    file = tmp_path / "personas.json"
    file.write_text(json.dumps([GOOD | {"system_prompt": ["SECRET"]}]), encoding="utf-8")
    with pytest.raises(Fault) as refusal:
        load_personas(file)
    assert "SECRET" not in refusal.value.message
