"""Progress of a pull: a bar on a terminal, few lines elsewhere; receipts; lines of Ollama."""

import asyncio
import json
import threading
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from parley_cli.pulling.catalogue import KnownFile
from parley_cli.pulling.disk import in_thread
from parley_cli.pulling.faults import PullError
from parley_cli.pulling.ollama import take_line
from parley_cli.pulling.part_file import PartFile
from parley_cli.pulling.progress import PullProgress
from parley_cli.pulling.receipts import (
    Receipt,
    file_sizes,
    first_difference,
    first_unknown,
    read_receipt,
    write_receipt,
)

URL = "https://models.example/model.tar.bz2"


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


def shown(*, is_terminal: bool, moves: list[tuple[int, int]]) -> str:
    console = Console(force_terminal=is_terminal, file=StringIO(), width=100, color_system=None, _environ={})
    with PullProgress(console) as progress:
        progress.begin("model")
        for done, total in moves:
            progress.moved(done, total)
        progress.checking()
        progress.end()
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_elsewhere_there_is_a_line_each_tenth() -> None:
    lines = shown(is_terminal=False, moves=[(done, 1000) for done in range(0, 1001, 3)]).splitlines()
    assert [line.split()[1] for line in lines[:-1]] == [str(percent) for percent in range(0, 100, 10)]
    assert lines[5] == "  model: 50 % (501 bytes / 1.0 kB)"
    assert lines[-1] == "  checking and unpacking model"


def test_each_file_of_ollama_has_lines_of_its_own() -> None:
    lines = shown(is_terminal=False, moves=[(10, 10), (10, 10), (0, 500), (500, 500)]).splitlines()
    assert [line.split()[1] for line in lines[:-1]] == ["100", "0", "100"]


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    text = shown(is_terminal=True, moves=[(400, 1000)])
    assert "━" in text
    assert "\n  model: " not in text


def receipt_of(model: Path) -> Receipt:
    return Receipt(
        name="model",
        url=URL,
        fetched_at="2026-01-01T00:00:00+00:00",
        size_bytes=10,
        sha256="ab" * 32,
        file_sizes=file_sizes(model),
    )


def test_a_receipt_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "model" / "sub").mkdir(parents=True)
    (tmp_path / "model" / "sub" / "a").write_text("xyz")
    assert read_receipt(tmp_path, "model") is None
    receipt = receipt_of(tmp_path / "model")
    write_receipt(tmp_path, receipt)
    assert read_receipt(tmp_path, "model") == receipt
    assert receipt.file_sizes == {"sub/a": 3}


@pytest.mark.parametrize("text", ["", "{}", "[", '{"name": "model"}'])
def test_a_receipt_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.receipt.json").write_text(text)
    with pytest.raises(PullError, match="broken_receipt"):
        read_receipt(tmp_path, "model")


def test_missing_and_changed_files_are_found_and_added_ones_do_not_matter(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("xyz")
    receipt = receipt_of(tmp_path)
    (tmp_path / "mine").write_text("note")
    assert first_difference(tmp_path, receipt) is None
    (tmp_path / "b").write_text("xy")
    assert first_difference(tmp_path, receipt) == "b"
    (tmp_path / "a").unlink()
    assert first_difference(tmp_path, receipt) == "a"


def test_files_are_held_against_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("xyz")
    digest = "3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282"
    good = KnownFile(path="a", size_bytes=3, sha256=digest)

    def found(*files: KnownFile) -> str | None:
        return first_unknown(tmp_path, files, threading.Event())

    assert found(good, KnownFile(path="a")) is None
    assert found(good, KnownFile(path="b")) == "b"
    assert found(good.model_copy(update={"size_bytes": 4})) == "a"
    assert found(good.model_copy(update={"sha256": "0" * 64})) == "a"


def test_a_part_is_gone_on_with_only_for_its_own_address(tmp_path: Path) -> None:
    part = PartFile(tmp_path, "model", URL)
    assert (part.validator, part.size_bytes, part.is_complete) == ("", 0, False)
    part.begin('"tag"', 6)
    part.append(b"abc")
    again = PartFile(tmp_path, "model", URL)
    assert (again.validator, again.size_bytes, again.is_complete) == ('"tag"', 3, False)
    assert PartFile(tmp_path, "model", URL + "x").validator == ""
    again.append(b"def")
    assert PartFile(tmp_path, "model", URL).is_complete
    again.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("note", ["", "{", '{"url": "x"}', "x" * 100_000])
def test_a_part_with_a_broken_note_begins_anew(tmp_path: Path, note: str) -> None:
    (tmp_path / "model.part").write_text("abc")
    (tmp_path / "model.part.json").write_text(note)
    assert PartFile(tmp_path, "model", URL).validator == ""


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(PullError, match="folder_unusable"):
        PartFile(tmp_path / "missing", "model", URL).begin("", 1)


async def test_work_in_a_thread_is_told_that_nobody_waits() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(stopped: threading.Event) -> None:
        begun.set()
        if stopped.wait(60):
            ended.set()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(in_thread(work), name="work")
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
    assert await asyncio.to_thread(ended.wait, 60)


def test_lines_of_ollama_move_the_progress_and_end_it() -> None:
    moves: list[tuple[int, int]] = []

    def taken(line: dict[str, object]) -> bool:
        return take_line(json.dumps(line).encode(), "m", "u", lambda *move: moves.append(move))

    assert not taken({"status": "pulling", "total": 10, "completed": 3})
    assert not taken({"status": "pulling", "total": 10})
    assert not taken({"status": "pulling", "total": 10, "completed": 30})
    assert not taken({"status": "pulling", "total": "x", "completed": 1})
    assert taken({"status": "success"})
    assert moves == [(3, 10)]
