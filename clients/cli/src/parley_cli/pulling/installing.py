"""`install`: one model from the catalogue into the folder of models, whole or not at all. Called by `commands.pull`."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from parley_cli.pulling.catalogue import ModelEntry
from parley_cli.pulling.disk import FreeBytes, check_room, flushed, free_bytes, in_thread, writing
from parley_cli.pulling.download import Moved, Patience, Wanted, download
from parley_cli.pulling.faults import PullError
from parley_cli.pulling.part_file import PartFile
from parley_cli.pulling.receipts import (
    Receipt,
    file_sizes,
    first_difference,
    first_unknown,
    read_receipt,
    receipt_path,
    sha256_of,
    write_receipt,
)
from parley_cli.pulling.unpacking import unpack


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that is there. sha256: of its download; empty where somebody else put the model there."""

    path: Path
    is_new: bool
    sha256: str
    is_sha256_from_catalogue: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Progress, and what tests exchange. moved: progress in bytes; checking: called when the download is complete."""

    moved: Moved
    checking: Callable[[], None]
    patience: Patience
    room: FreeBytes = free_bytes


async def install(entry: ModelEntry, folder: Path, around: Surroundings) -> Installed:
    """Fetch, check and put into place, unless it is there. The caller holds the folder's lock. Raises PullError."""
    place = folder / entry.name
    receipt = read_receipt(folder, entry.name)
    if place.exists():
        await in_thread(lambda stopped: _check_present(entry, place, receipt, stopped))
        known = receipt is not None and bool(entry.sha256) and receipt.sha256 == entry.sha256
        return Installed(place, False, receipt.sha256 if receipt else "", known)
    part = PartFile(folder, entry.name, entry.url)
    await download(_wanted(entry), part, around.moved, around.patience, around.room)
    around.checking()
    check_room(entry.name, folder, entry.unpacked_bytes or 0, around.room)
    made = await in_thread(lambda stopped: _place(entry, part, place, receipt, stopped))
    return Installed(place, True, made.sha256, bool(entry.sha256))


def _wanted(entry: ModelEntry) -> Wanted:
    exact_bytes = entry.size_bytes if entry.is_size_exact else None
    return Wanted(entry.name, entry.url, entry.download_max_bytes, exact_bytes, entry.unpacked_bytes or 0)


def _check_present(entry: ModelEntry, place: Path, receipt: Receipt | None, stopped: threading.Event) -> None:
    """Raises PullError where what lies there is not the model."""
    if receipt is not None:
        changed = first_difference(place, receipt)
    else:
        # Not from here: somebody copied it. Then the catalogue alone can tell.
        changed = first_unknown(place, entry.files, stopped) or _missing_single(entry, place, stopped)
    if changed is not None:
        raise PullError("damaged", name=entry.name, file=changed, folder=place)


def _missing_single(entry: ModelEntry, place: Path, stopped: threading.Event) -> str | None:
    if entry.is_archive:
        return None
    file = place / entry.file_name
    if not file.is_file() or (entry.sha256 and sha256_of(file, stopped) != entry.sha256):
        return entry.file_name
    return None


def _place(
    entry: ModelEntry, part: PartFile, place: Path, receipt: Receipt | None, stopped: threading.Event
) -> Receipt:
    """From a complete download to a model in its place."""
    sha256 = sha256_of(part.path, stopped)
    _check_digest(entry, sha256, part, receipt)
    size_bytes = part.size_bytes
    staging = place.with_name(f"{entry.name}.unpacking")
    with writing(place.parent):
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
    try:
        _fill(entry, part, staging, stopped)
        changed = first_unknown(staging, entry.files, stopped)
        if changed is not None:
            part.discard()
            raise PullError("wrong_file", name=entry.name, file=changed)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        made = Receipt(
            name=entry.name,
            url=entry.url,
            fetched_at=now,
            size_bytes=size_bytes,
            sha256=sha256,
            file_sizes=file_sizes(staging),
        )
        # The receipt first: a model without one would pass for somebody else's.
        write_receipt(place.parent, made)
        with writing(place.parent):
            staging.rename(place)
            flushed(place.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    part.discard()
    return made


def _check_digest(entry: ModelEntry, sha256: str, part: PartFile, receipt: Receipt | None) -> None:
    if entry.sha256 and sha256 != entry.sha256:
        part.discard()
        raise PullError("wrong_checksum", name=entry.name, found=sha256, expected=entry.sha256)
    is_same_source = receipt is not None and receipt.url == entry.url
    if not entry.sha256 and receipt is not None and is_same_source and sha256 != receipt.sha256:
        part.discard()
        file = receipt_path(part.path.parent, entry.name)
        raise PullError("changed_upstream", name=entry.name, file=file)


def _fill(entry: ModelEntry, part: PartFile, staging: Path, stopped: threading.Event) -> None:
    if entry.is_archive:
        try:
            unpack(entry.name, part.path, staging, entry.unpacked_max_bytes, stopped)
        except PullError as error:
            if error.reason in ("unsafe_archive", "broken_archive"):
                part.discard()
            raise
        return
    with writing(staging):
        # Copied, not moved: what goes wrong later must not cost the download.
        shutil.copyfile(part.path, staging / entry.file_name)
        flushed(staging / entry.file_name)
