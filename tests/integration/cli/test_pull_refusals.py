"""Downloads that are refused: not there, not what they should be, not safe; nothing of them stays."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from integration.cli.pull_rig import (
    CONTENT,
    HASTY,
    MODEL,
    SHA256,
    archive,
    installed,
    left,
    reason,
    single,
)

from parley_cli.pulling.catalogue import KnownFile
from parley_cli.pulling.faults import PullError
from support.fake_model_host import FakeModelHost, packed, running_host


@pytest_asyncio.fixture
async def host() -> AsyncIterator[FakeModelHost]:
    async with running_host() as host:
        host.files["/vad.onnx"] = CONTENT
        host.files["/model.tar.bz2"] = packed(MODEL)
        yield host


async def test_a_host_that_is_not_there_is_named(tmp_path: Path) -> None:
    nowhere = FakeModelHost(url="http://127.0.0.1:1")
    with pytest.raises(PullError) as raised:
        await installed(single(nowhere), tmp_path, HASTY)
    assert raised.value.reason == "unreachable"
    assert "127.0.0.1" in raised.value.words


@pytest.mark.parametrize(
    ("status", "expected", "request_count"),
    [(404, "gone", 1), (410, "gone", 1), (403, "upstream_status", 1), (503, "upstream_status", 3)],
)
async def test_a_status_says_whether_to_try_again(
    host: FakeModelHost, tmp_path: Path, status: int, expected: str, request_count: int
) -> None:
    host.statuses = [status] * 9
    assert await reason(single(host), tmp_path) == expected
    assert len(host.requests) == request_count


async def test_a_rest_that_nobody_asked_for_is_refused(host: FakeModelHost, tmp_path: Path) -> None:
    host.status_of_whole = 206
    assert await reason(single(host), tmp_path) == "upstream_status"
    assert left(tmp_path) == set()


async def test_a_wrong_size_is_refused_before_anything_is_fetched(
    host: FakeModelHost, tmp_path: Path
) -> None:
    assert await reason(single(host, size_bytes=len(CONTENT) - 1), tmp_path) == "wrong_size"
    assert left(tmp_path) == set()


async def test_far_more_than_expected_is_refused(host: FakeModelHost, tmp_path: Path) -> None:
    entry = single(host, size_bytes=900_000, is_size_exact=False, sha256="")
    assert await reason(entry, tmp_path) == "too_large"
    assert left(tmp_path) == set()


async def test_a_file_of_unknown_length_is_refused(host: FakeModelHost, tmp_path: Path) -> None:
    host.tells_length = False
    assert await reason(single(host), tmp_path) == "no_length"


async def test_less_than_was_promised_is_a_cut(host: FakeModelHost, tmp_path: Path) -> None:
    host.claimed_bytes = len(CONTENT) + 10
    entry = single(host, is_size_exact=False, sha256="")
    assert await reason(entry, tmp_path) == "cut"


async def test_a_wrong_checksum_removes_the_file(host: FakeModelHost, tmp_path: Path) -> None:
    host.files["/vad.onnx"] = bytes(len(CONTENT))
    with pytest.raises(PullError) as raised:
        await installed(single(host), tmp_path)
    assert raised.value.reason == "wrong_checksum"
    assert SHA256 in raised.value.words
    assert left(tmp_path) == set()


async def test_a_file_within_an_archive_has_a_checksum_too(host: FakeModelHost, tmp_path: Path) -> None:
    known = KnownFile(path="encoder.onnx", size_bytes=300_000, sha256="0" * 64)
    with pytest.raises(PullError) as raised:
        await installed(archive(host, files=(known,)), tmp_path)
    assert (raised.value.reason, raised.value.values["file"]) == ("wrong_file", "encoder.onnx")
    assert left(tmp_path) == set()


async def test_a_source_that_changed_since_the_first_time_is_noticed(
    host: FakeModelHost, tmp_path: Path
) -> None:
    await installed(archive(host), tmp_path)
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    assert (await installed(archive(host), tmp_path)).is_new
    (tmp_path / "model").rename(tmp_path / "elsewhere-too")
    host.files["/model.tar.bz2"] = packed(MODEL | {"tokens.txt": b"evil 0\n"})
    host.etag = '"second"'
    assert await reason(archive(host), tmp_path) == "changed_upstream"
    assert not (tmp_path / "model").exists()
    (tmp_path / "model.receipt.json").unlink()
    assert (await installed(archive(host), tmp_path)).is_new


async def test_no_room_is_noticed_before_anything_is_fetched(host: FakeModelHost, tmp_path: Path) -> None:
    assert await reason(archive(host), tmp_path, room=lambda folder: 500_000) == "no_room"
    assert (tmp_path / "model.part").stat().st_size == 0
    assert (await installed(archive(host), tmp_path, room=lambda folder: 900_000)).is_new


async def test_no_room_is_noticed_before_anything_is_unpacked(host: FakeModelHost, tmp_path: Path) -> None:
    left_bytes = iter([900_000, 100_000])
    assert await reason(archive(host), tmp_path, room=lambda folder: next(left_bytes)) == "no_room"
    request_count = len(host.requests)
    assert (await installed(archive(host), tmp_path)).is_new
    assert len(host.requests) == request_count


async def test_an_unsafe_archive_is_removed(host: FakeModelHost, tmp_path: Path) -> None:
    host.files["/model.tar.bz2"] = packed(MODEL, top="../evil")
    assert await reason(archive(host), tmp_path) == "unsafe_archive"
    assert left(tmp_path) == set()
    assert not (tmp_path.parent / "evil").exists()


async def test_a_broken_archive_is_removed_and_can_be_fetched_again(
    host: FakeModelHost, tmp_path: Path
) -> None:
    whole = host.files["/model.tar.bz2"]
    host.files["/model.tar.bz2"] = whole[:200_000]
    assert await reason(archive(host), tmp_path) == "broken_archive"
    assert left(tmp_path) == set()
    host.files["/model.tar.bz2"] = whole
    assert (await installed(archive(host), tmp_path)).is_new


async def test_redirects_are_followed_on_this_machine(host: FakeModelHost, tmp_path: Path) -> None:
    host.redirects = {"/vad.onnx": "/elsewhere?signature=a%2Fb"}
    host.files["/elsewhere?signature=a%2Fb"] = CONTENT
    await installed(single(host), tmp_path)
    assert host.requests[-1]["path"] == "/elsewhere?signature=a%2Fb"


@pytest.mark.parametrize(
    "location", ["http://models.example/vad.onnx", "ftp://127.0.0.1/vad.onnx", "https://me:it@host/", ""]
)
async def test_unsafe_redirects_are_not_followed(host: FakeModelHost, tmp_path: Path, location: str) -> None:
    host.redirects = {"/vad.onnx": location}
    expected = "unsafe_redirect" if location else "redirects"
    assert await reason(single(host), tmp_path) == expected


async def test_redirects_in_circles_end(host: FakeModelHost, tmp_path: Path) -> None:
    host.redirects = {"/vad.onnx": "/vad.onnx"}
    assert await reason(single(host), tmp_path) == "redirects"
    assert len(host.requests) == 6
