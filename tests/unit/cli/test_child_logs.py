"""Logs of children: bounded on disk, and read when one dies."""

import json
from pathlib import Path

import pytest

from parley_cli.child_logs import ChildLogs


def write(logs: ChildLogs, content: str) -> None:
    with logs.open("asr") as stream:
        stream.write(content.encode())


def test_a_log_that_is_too_long_is_set_aside(tmp_path: Path) -> None:
    logs = ChildLogs(tmp_path / "logs", max_bytes=10)
    write(logs, "x" * 11)
    write(logs, "new")
    assert (tmp_path / "logs/asr.log.1").read_text() == "x" * 11
    assert (tmp_path / "logs/asr.log").read_text() == "new"


def test_a_log_within_its_bound_is_continued(tmp_path: Path) -> None:
    logs = ChildLogs(tmp_path, max_bytes=10)
    write(logs, "one ")
    write(logs, "two")
    assert (tmp_path / "asr.log").read_text() == "one two"
    assert not (tmp_path / "asr.log.1").exists()


def test_a_child_goes_on_writing_at_the_new_end_while_its_log_is_rotated(tmp_path: Path) -> None:
    logs = ChildLogs(tmp_path, max_bytes=10)
    with logs.open("asr") as stream:
        stream.write(b"x" * 20)
        stream.flush()
        logs.rotate("asr")
        stream.write(b"after")
    assert (tmp_path / "asr.log").read_bytes() == b"after"
    assert logs.last_words("asr") == "after"


def test_a_log_that_is_not_there_needs_no_rotation(tmp_path: Path) -> None:
    ChildLogs(tmp_path).rotate("asr")
    assert not list(tmp_path.iterdir())


def test_the_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    write(ChildLogs(tmp_path / "logs"), "")
    assert (tmp_path / "logs").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "it said nothing"),
        ('{"event": "a"}\n{"event": "failed", "message": "no model"}\n', "no model"),
        ('{"event": "failed", "reason": "NO_MODEL"}\n', "NO_MODEL"),
        ('{"event": "stopped"}\n', "stopped"),
        ("PORT is not a number\nENGINE is unknown\n", "PORT is not a number; ENGINE is unknown"),
        ('{"event": "started"}\nSegmentation fault\n', "Segmentation fault"),
        ("Traceback (most recent call last):\n  File x\nValueError: bad\n", "ValueError: bad"),
        ("1\n2\n3\n4\n5\n6\n", "2; 3; 4; 5; 6"),
        ("[1, 2]\n", "[1, 2]"),
    ],
)
def test_the_last_words_say_why(tmp_path: Path, content: str, words: str) -> None:
    logs = ChildLogs(tmp_path)
    write(logs, content)
    assert logs.last_words("asr") == words


def test_the_words_of_an_earlier_child_are_not_the_last_ones(tmp_path: Path) -> None:
    logs = ChildLogs(tmp_path)
    write(logs, "an old complaint\n")
    write(logs, "")
    assert logs.last_words("asr") == "it said nothing"


@pytest.mark.parametrize("words", ["bye", "a long farewell with many words"])
def test_all_that_a_child_said_after_a_rotation_counts(tmp_path: Path, words: str) -> None:
    logs = ChildLogs(tmp_path, max_bytes=10)
    write(logs, "earlier\n")
    with logs.open("asr") as stream:
        stream.write(b"x" * 20)
        stream.flush()
        logs.rotate("asr")
        stream.write(words.encode())
    assert logs.last_words("asr") == words


def test_of_a_very_long_log_only_the_end_is_read(tmp_path: Path) -> None:
    logs = ChildLogs(tmp_path)
    write(logs, "\n" * 1_000_000 + json.dumps({"message": "the end"}))
    assert logs.last_words("asr") == "the end"
