"""Downloads from a host that breaks off, changes its mind, lies or is silent: what stays, what is asked for again."""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from parley_cli.pulling.catalogue import Kind, KnownFile, ModelEntry
from parley_cli.pulling.disk import free_bytes, locked
from parley_cli.pulling.download import Patience
from parley_cli.pulling.faults import PullError
from parley_cli.pulling.installing import Installed, Surroundings, install
from parley_cli.pulling.receipts import read_receipt
from support.fake_model_host import FakeModelHost, packed, running_host

# Quick to give up on, so that a test of giving up is short; what is asserted does not depend on it.
HASTY = Patience(attempt_count=3, retry_delay_ms=1, connect_timeout_ms=5_000, window_ms=400)
CALM = Patience(attempt_count=3, retry_delay_ms=1)
CONTENT = random.Random(7).randbytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MODEL = {"tokens.txt": b"<blk> 0\n", "encoder.onnx": CONTENT[:300_000], "more/README.md": b"hello"}


@pytest_asyncio.fixture
async def host() -> AsyncIterator[FakeModelHost]:
    async with running_host() as host:
        host.files["/vad.onnx"] = CONTENT
        host.files["/model.tar.bz2"] = packed(MODEL)
        yield host


def single(host: FakeModelHost, **changes: Any) -> ModelEntry:
    fields: dict[str, Any] = {
        "name": "vad",
        "kind": Kind.VAD,
        "url": f"{host.url}/vad.onnx",
        "size_bytes": len(CONTENT),
        "is_size_exact": True,
        "sha256": SHA256,
        "licence": "MIT",
    }
    return ModelEntry(**(fields | changes))


def archive(host: FakeModelHost, **changes: Any) -> ModelEntry:
    fields: dict[str, Any] = {
        "name": "model",
        "kind": Kind.ASR,
        "url": f"{host.url}/model.tar.bz2",
        "size_bytes": 400_000,
        "unpacked_bytes": 400_000,
        "licence": "MIT",
        "files": (KnownFile(path="tokens.txt"),),
    }
    return ModelEntry(**(fields | changes))


async def installed(
    entry: ModelEntry, folder: Path, patience: Patience = CALM, room_bytes: int | None = None
) -> Installed:
    def room(folder: Path) -> int:
        return free_bytes(folder) if room_bytes is None else room_bytes

    around = Surroundings(lambda done, total: None, lambda: None, patience, room)
    with locked(folder):
        return await install(entry, folder, around)


async def reason(
    entry: ModelEntry, folder: Path, patience: Patience = CALM, room_bytes: int | None = None
) -> str:
    with pytest.raises(PullError) as raised:
        await installed(entry, folder, patience, room_bytes)
    assert raised.value.words
    return raised.value.reason


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".pulling.lock"}


async def test_a_file_is_fetched_checked_and_put_into_place(host: FakeModelHost, tmp_path: Path) -> None:
    made = await installed(single(host), tmp_path)
    assert (made.is_new, made.sha256, made.is_sha256_from_catalogue) == (True, SHA256, True)
    assert (tmp_path / "vad" / "vad.onnx").read_bytes() == CONTENT
    assert left(tmp_path) == {"vad", "vad.receipt.json"}


async def test_an_archive_is_unpacked_without_its_top_folder(host: FakeModelHost, tmp_path: Path) -> None:
    made = await installed(archive(host), tmp_path)
    assert not made.is_sha256_from_catalogue
    assert {path: (tmp_path / "model" / path).read_bytes() for path in MODEL} == MODEL
    receipt = read_receipt(tmp_path, "model")
    assert receipt is not None
    assert receipt.sha256 == hashlib.sha256(host.files["/model.tar.bz2"]).hexdigest() == made.sha256
    assert receipt.file_sizes == {path: len(content) for path, content in MODEL.items()}
    assert left(tmp_path) == {"model", "model.receipt.json"}


async def test_what_is_there_is_not_asked_for_again(host: FakeModelHost, tmp_path: Path) -> None:
    await installed(archive(host), tmp_path)
    request_count = len(host.requests)
    again = await installed(archive(host), tmp_path)
    assert not again.is_new
    assert len(host.requests) == request_count


async def test_cut_connections_are_gone_on_with(host: FakeModelHost, tmp_path: Path) -> None:
    host.cut_after = [700_000, 300_000]
    await installed(single(host), tmp_path)
    ranges = [request.get("range") for request in host.requests]
    assert ranges == [None, "bytes=700000-", "bytes=1000000-"]
    assert {request.get("if-range") for request in host.requests[1:]} == {'"first"'}


async def test_any_number_of_cuts_is_fine_as_long_as_something_comes(
    host: FakeModelHost, tmp_path: Path
) -> None:
    host.cut_after = [100_000] * 12
    await installed(single(host), tmp_path)
    assert len(host.requests) == 13


async def test_a_host_that_always_breaks_off_is_given_up_and_the_part_stays(
    host: FakeModelHost, tmp_path: Path
) -> None:
    host.cut_after = [200_000] + [0] * 9
    assert await reason(single(host), tmp_path) == "cut"
    assert len(host.requests) == 1 + CALM.attempt_count - 1
    assert (tmp_path / "vad.part").stat().st_size == 200_000
    host.cut_after = []
    await installed(single(host), tmp_path)
    assert host.requests[-1]["range"] == "bytes=200000-"


async def test_a_host_without_ranges_gives_all_of_it_again(host: FakeModelHost, tmp_path: Path) -> None:
    host.takes_ranges = False
    host.cut_after = [900_000]
    await installed(single(host), tmp_path)
    assert host.requests[1]["range"] == "bytes=900000-"


async def test_a_file_that_changed_in_between_is_fetched_from_its_beginning(
    host: FakeModelHost, tmp_path: Path
) -> None:
    host.cut_after = [900_000] + [0] * 9
    host.files["/vad.onnx"] = bytes(len(CONTENT))
    assert await reason(single(host), tmp_path) == "cut"
    host.files["/vad.onnx"], host.etag, host.cut_after = CONTENT, '"second"', []
    await installed(single(host), tmp_path)
    assert (tmp_path / "vad" / "vad.onnx").read_bytes() == CONTENT


async def test_a_rest_with_another_etag_is_not_taken_for_the_rest(
    host: FakeModelHost, tmp_path: Path
) -> None:
    host.cut_after = [900_000] + [0] * 9
    host.files["/vad.onnx"] = bytes(len(CONTENT))
    assert await reason(single(host), tmp_path) == "cut"
    host.files["/vad.onnx"], host.etag, host.cut_after = CONTENT, '"second"', []
    host.minds_if_range = False
    await installed(single(host), tmp_path)
    assert [request.get("range") for request in host.requests[-2:]] == ["bytes=900000-", None]


async def test_a_date_serves_where_there_is_no_etag(host: FakeModelHost, tmp_path: Path) -> None:
    host.etag, host.last_modified = "", "Mon, 20 Feb 2023 10:00:00 GMT"
    host.cut_after = [900_000]
    await installed(single(host), tmp_path)
    assert host.requests[1]["if-range"] == host.last_modified


@pytest.mark.parametrize("etag", ["", 'W/"first"'])
async def test_without_anything_to_compare_it_begins_again(
    host: FakeModelHost, tmp_path: Path, etag: str
) -> None:
    host.etag = etag
    host.cut_after = [900_000]
    await installed(single(host), tmp_path)
    assert "range" not in host.requests[1]


@pytest.mark.parametrize("claim", ["bytes 5-1499999/1500000", "bytes 900000-1000000/1500000", "nonsense"])
async def test_a_rest_that_is_not_the_rest_is_thrown_away(
    host: FakeModelHost, tmp_path: Path, claim: str
) -> None:
    host.cut_after = [900_000]
    host.claimed_range = claim
    await installed(single(host), tmp_path)
    assert [request.get("range") for request in host.requests] == [None, "bytes=900000-", None]


async def test_a_part_that_is_longer_than_the_file_is_thrown_away(
    host: FakeModelHost, tmp_path: Path
) -> None:
    host.cut_after = [900_000] + [0] * 9
    await reason(single(host), tmp_path)
    host.cut_after, host.files["/vad.onnx"] = [], CONTENT[:500_000]
    entry = single(host, size_bytes=500_000, sha256="")
    await installed(entry, tmp_path)
    assert (tmp_path / "vad" / "vad.onnx").read_bytes() == CONTENT[:500_000]


async def test_a_slow_host_is_waited_for(host: FakeModelHost, tmp_path: Path) -> None:
    host.piece_delay_ms = 10
    await installed(single(host), tmp_path, Patience(retry_delay_ms=1, window_ms=600))
    assert len(host.requests) == 1


async def test_a_host_that_stops_talking_is_asked_again(host: FakeModelHost, tmp_path: Path) -> None:
    host.stalls_after = 400_000
    await installed(single(host), tmp_path, HASTY)
    assert [request.get("range") for request in host.requests[:2]] == [None, "bytes=400000-"]


async def test_a_host_that_never_answers_is_given_up(host: FakeModelHost, tmp_path: Path) -> None:
    host.stalls_after = 0
    assert await reason(single(host), tmp_path, HASTY) == "slow"


async def test_a_trickle_counts_as_nothing(host: FakeModelHost, tmp_path: Path) -> None:
    host.piece_delay_ms = 150
    assert await reason(single(host), tmp_path, HASTY) == "slow"


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


async def test_a_busy_host_is_asked_again(host: FakeModelHost, tmp_path: Path) -> None:
    host.statuses = [503, 429]
    assert (await installed(single(host), tmp_path)).is_new


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


async def test_a_changed_model_is_told_and_left_alone(host: FakeModelHost, tmp_path: Path) -> None:
    await installed(archive(host), tmp_path)
    (tmp_path / "model" / "tokens.txt").write_text("mine\n")
    assert await reason(archive(host), tmp_path) == "damaged"
    assert (tmp_path / "model" / "tokens.txt").read_text() == "mine\n"


async def test_a_model_that_somebody_copied_there_will_do(host: FakeModelHost, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert await reason(archive(host), tmp_path) == "damaged"
    (tmp_path / "model" / "tokens.txt").write_text("<blk> 0\n")
    assert not (await installed(archive(host), tmp_path)).is_new
    assert host.requests == []


async def test_no_room_is_noticed_before_anything_is_fetched(host: FakeModelHost, tmp_path: Path) -> None:
    assert await reason(archive(host), tmp_path, room_bytes=500_000) == "no_room"
    assert (tmp_path / "model.part").stat().st_size == 0
    assert (await installed(archive(host), tmp_path, room_bytes=900_000)).is_new


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


async def test_what_came_before_a_cancel_stays(host: FakeModelHost, tmp_path: Path) -> None:
    host.stalls_after = 400_000
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(installed(single(host), tmp_path), name="pull")
        await host.asked.wait()
        while not (tmp_path / "vad.part").is_file() or not (tmp_path / "vad.part").stat().st_size:
            await asyncio.sleep(0.01)
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    kept_bytes = (tmp_path / "vad.part").stat().st_size
    assert 0 < kept_bytes <= 400_000
    host.stalls_after = None
    await installed(single(host), tmp_path)
    assert host.requests[-1]["range"] == f"bytes={kept_bytes}-"


async def test_two_pulls_at_once_do_not_mix(host: FakeModelHost, tmp_path: Path) -> None:
    with locked(tmp_path):
        assert await reason(single(host), tmp_path) == "busy"
