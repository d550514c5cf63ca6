"""Downloads from a host that breaks off, changes its mind, lies or is silent: what stays, what is asked for again."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from integration.cli.pull_rig import (
    CALM,
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

from parley_cli.pulling.disk import locked
from parley_cli.pulling.download import Patience
from parley_cli.pulling.receipts import read_receipt
from support.fake_model_host import FakeModelHost, packed, running_host


@pytest_asyncio.fixture
async def host() -> AsyncIterator[FakeModelHost]:
    async with running_host() as host:
        host.files["/vad.onnx"] = CONTENT
        host.files["/model.tar.bz2"] = packed(MODEL)
        yield host


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


@pytest.mark.parametrize(
    "claim",
    ["bytes 5-1499999/1500000", "bytes 900000-1000000/1500000", "bytes 900000-1599999/1600000", "nonsense"],
)
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


async def test_a_busy_host_is_asked_again(host: FakeModelHost, tmp_path: Path) -> None:
    host.statuses = [503, 429]
    assert (await installed(single(host), tmp_path)).is_new


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
