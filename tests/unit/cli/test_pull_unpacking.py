"""Archives from elsewhere: honest ones are unpacked, and nothing that a hostile one says is believed."""

import bz2
import tarfile
import threading
from pathlib import Path

import pytest

from parley_cli.pulling import unpacking
from parley_cli.pulling.faults import PullError
from parley_cli.pulling.unpacking import StoppedError, unpack
from support.fake_model_host import (
    file_member,
    folder_member,
    packed,
    packed_members,
    special_member,
)

FILES = {"tokens.txt": b"<blk> 0\n", "data/lexicon.txt": b"a a\n" * 1000, "empty": b""}


def unpacked(tmp_path: Path, content: bytes, max_bytes: int = 1_000_000) -> dict[str, bytes]:
    archive, into = tmp_path / "model.part", tmp_path / "deep" / "into"
    archive.write_bytes(content)
    into.mkdir(parents=True)
    unpack("model", archive, into, max_bytes, threading.Event())
    return {
        path.relative_to(into).as_posix(): path.read_bytes() for path in into.rglob("*") if path.is_file()
    }


def refusal(tmp_path: Path, content: bytes, max_bytes: int = 1_000_000) -> str:
    with pytest.raises(PullError) as raised:
        unpacked(tmp_path, content, max_bytes)
    outside = {path.name for path in tmp_path.rglob("*")} & {"evil", "evil.txt"}
    assert not outside
    return raised.value.words if raised.value.reason == "unsafe_archive" else raised.value.reason


@pytest.mark.parametrize("form", ["bz2", "gz"])
def test_an_honest_archive_comes_out_whole(tmp_path: Path, form: str) -> None:
    assert unpacked(tmp_path, packed(FILES, form=form)) == FILES


def test_a_folder_need_not_be_announced(tmp_path: Path) -> None:
    members = [(file_member("./top/a/b.txt", 1), b"x")]
    assert unpacked(tmp_path, packed_members(members)) == {"a/b.txt": b"x"}


def test_what_is_unpacked_can_be_read_but_not_run(tmp_path: Path) -> None:
    member = file_member("top/a", 1)
    member.mode = 0o6777
    unpacked(tmp_path, packed_members([(member, b"x")]))
    assert (tmp_path / "deep" / "into" / "a").stat().st_mode & 0o7111 == 0


@pytest.mark.parametrize(
    "path",
    [
        "../evil.txt",
        "top/../../evil.txt",
        "/tmp/evil.txt",
        "//evil.txt",
        "top/..",
        "top/..\\evil.txt",
        "C:/evil.txt",
        "top/a\nb",
        "top/\x1b[2J",
        "top/" + "a" * 400,
        "top/" + "a/" * 40 + "b",
    ],
)
def test_paths_that_lead_out_or_are_strange_are_refused(tmp_path: Path, path: str) -> None:
    assert "path" in refusal(
        tmp_path, packed_members([(folder_member("top"), b""), (file_member(path, 1), b"x")])
    )


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    members = [(folder_member("top"), b""), (special_member("top/evil", kind, "../../evil"), b"")]
    assert "a link, a device" in refusal(tmp_path, packed_members(members))


def test_a_link_that_stays_inside_is_refused_too(tmp_path: Path) -> None:
    members = [(file_member("top/a", 1), b"x"), (special_member("top/b", tarfile.SYMTYPE, "a"), b"")]
    assert "a link" in refusal(tmp_path, packed_members(members))


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"path": "../../evil"}, "a path"),
        ({"path": "/evil"}, "a path"),
        ({"size": "-1000000"}, "negative"),
        ({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "500000"}, "holes"),
    ],
    ids=["out", "absolute", "size", "sparse"],
)
def test_extended_headers_are_not_believed_either(
    tmp_path: Path, headers: dict[str, str], words: str
) -> None:
    member = file_member("top/a", 512)
    member.pax_headers = headers
    plain = member.tobuf(tarfile.PAX_FORMAT) + b"1\n500000\n0\n".ljust(512, b"\0") + bytes(1024)
    assert words in refusal(tmp_path, bz2.compress(plain))


def test_the_same_path_twice_is_refused(tmp_path: Path) -> None:
    members = [(file_member("top/a", 1), b"x"), (file_member("top/./a", 1), b"y")]
    assert "twice" in refusal(tmp_path, packed_members(members))


def test_a_file_below_a_file_is_refused(tmp_path: Path) -> None:
    members = [(file_member("top/a", 1), b"x"), (file_member("top/a/b", 1), b"y")]
    assert refusal(tmp_path, packed_members(members))


@pytest.mark.parametrize("paths", [["a/x", "b/x"], ["x"], ["a/x", "x"]])
def test_more_than_one_top_folder_is_refused(tmp_path: Path, paths: list[str]) -> None:
    members = [(file_member(path, 1), b"x") for path in paths]
    assert "top" in refusal(tmp_path, packed_members(members))


def test_what_macos_packs_beside_the_files_is_left_out(tmp_path: Path) -> None:
    members = [
        *[(file_member(path, 1), b"m") for path in ("./._top", "._top", ".DS_Store", "__MACOSX/top/._a")],
        (folder_member("__MACOSX"), b""),
        (folder_member("top"), b""),
        *[(file_member(f"top/{path}", 1), b"x") for path in ("a", "data/b", ".hidden")],
        *[(file_member(f"top/{path}", 1), b"m") for path in ("._a", ".DS_Store", "data/._b")],
    ]
    assert unpacked(tmp_path, packed_members(members)) == {"a": b"x", "data/b": b"x", ".hidden": b"x"}


@pytest.mark.parametrize("path", ["._a", ".DS_Store", "__MACOSX/a"])
def test_what_is_left_out_is_no_way_in(tmp_path: Path, path: str) -> None:
    link = (special_member(path, tarfile.SYMTYPE, "../../evil"), b"")
    assert "a link" in refusal(tmp_path, packed_members([(file_member("top/a", 1), b"x"), link]))


def test_an_archive_of_nothing_else_is_refused(tmp_path: Path) -> None:
    assert "nothing" in refusal(tmp_path, packed_members([(file_member("._top", 1), b"m")]))


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    assert "nothing" in refusal(tmp_path, packed_members([]))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = packed({"zeros": bytes(50_000_000)})
    assert len(bomb) < 1_000
    assert "more than it may unpack to" in refusal(tmp_path, bomb)
    assert not (tmp_path / "deep" / "into" / "zeros").exists()


def test_many_files_that_are_too_large_together_are_refused(tmp_path: Path) -> None:
    content = packed({f"{number}": bytes(300_000) for number in range(4)})
    assert "more than it may unpack to" in refusal(tmp_path, content)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_MEMBERS_MAX_COUNT", 50)
    content = packed({f"{number}": b"" for number in range(60)})
    assert "more than 50 members" in refusal(tmp_path, content)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path, kind: bytes) -> None:
    header = file_member("top/a", 1 << 33)
    header.type = kind
    plain = header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)
    assert "a header" in refusal(tmp_path, bz2.compress(plain))


def test_bytes_that_go_on_without_end_after_the_files_are_refused(tmp_path: Path) -> None:
    plain = bz2.decompress(packed(FILES))
    assert "more than it may unpack to" in refusal(tmp_path, bz2.compress(plain + bytes(60_000_000), 1))


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"BZh9" + b"x" * 100, b"\x1f\x8b" + b"x" * 100, bz2.compress(b"no tar" * 1000)],
    ids=["empty", "text", "bzip2", "gzip", "no tar"],
)
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    assert refusal(tmp_path, content) in ("broken_archive", refusal_of_nothing())


def refusal_of_nothing() -> str:
    return PullError("unsafe_archive", name="model", why="nothing in it").words


@pytest.mark.parametrize("cut_at", [40, 200, -5])
def test_an_archive_that_is_cut_off_is_told(tmp_path: Path, cut_at: int) -> None:
    content = packed({"noise": bytes(range(256)) * 200})[:cut_at]
    assert refusal(tmp_path, content) == "broken_archive"


def test_it_stops_when_nobody_waits(tmp_path: Path) -> None:
    stopped = threading.Event()
    stopped.set()
    (tmp_path / "model.part").write_bytes(packed(FILES))
    (tmp_path / "into").mkdir()
    with pytest.raises(StoppedError):
        unpack("model", tmp_path / "model.part", tmp_path / "into", 1_000_000, stopped)
