"""Receipts: what was fetched, beside each model, so that the next pull can compare. Used by `installing`."""

import hashlib
import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parley_cli.pulling.catalogue import KnownFile, Sha256
from parley_cli.pulling.disk import write_whole, writing
from parley_cli.pulling.faults import PullError
from parley_cli.pulling.unpacking import FILES_MAX_COUNT, StoppedError

_RECEIPT_MAX_BYTES = 4 << 20
_PIECE_BYTES = 4 << 20


class Receipt(BaseModel):
    """One fetched model."""

    model_config = ConfigDict(frozen=True)

    name: str
    url: str
    fetched_at: str
    """UTC, ISO 8601."""
    size_bytes: int = Field(gt=0)
    """Of the download."""
    sha256: Sha256
    """Of the download."""
    file_sizes: dict[str, int] = Field(max_length=FILES_MAX_COUNT)
    """Bytes by path within the model's folder."""


def receipt_path(folder: Path, name: str) -> Path:
    """Where a model's receipt lies."""
    return folder / f"{name}.receipt.json"


def read_receipt(folder: Path, name: str) -> Receipt | None:
    """The receipt, if there is one. Raises PullError for one that cannot be read."""
    path = receipt_path(folder, name)
    try:
        with path.open("rb") as file:
            return Receipt.model_validate_json(file.read(_RECEIPT_MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise PullError("broken_receipt", name=name, file=path) from None


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Put it into place."""
    with writing(folder):
        write_whole(receipt_path(folder, receipt.name), receipt.model_dump_json(indent=1) + "\n")


def file_sizes(model: Path) -> dict[str, int]:
    """Bytes of all files below a folder."""
    files = sorted(path for path in model.rglob("*") if path.is_file())
    return {path.relative_to(model).as_posix(): path.stat().st_size for path in files}


def first_difference(model: Path, receipt: Receipt) -> str | None:
    """A file that is missing or has another size than when it was fetched. Files that were added do not matter."""
    for name, size_bytes in receipt.file_sizes.items():
        path = model / name
        if not path.is_file() or path.stat().st_size != size_bytes:
            return name
    return None


def first_unknown(model: Path, files: tuple[KnownFile, ...], stopped: threading.Event) -> str | None:
    """A file of the catalogue that is missing or is not what the catalogue says."""
    for known in files:
        path = model / known.path
        if not path.is_file():
            return known.path
        if known.size_bytes is not None and path.stat().st_size != known.size_bytes:
            return known.path
        if known.sha256 and sha256_of(path, stopped) != known.sha256:
            return known.path
    return None


def sha256_of(path: Path, stopped: threading.Event) -> str:
    """The digest of a file. Raises StoppedError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            if stopped.is_set():
                raise StoppedError
            digest.update(piece)
    return digest.hexdigest()
