"""Models on a fake host, and pulling them within this process. Used by the tests of `parley models pull`."""

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from parley_cli.pulling.catalogue import Kind, KnownFile, ModelEntry
from parley_cli.pulling.disk import FreeBytes, free_bytes, locked
from parley_cli.pulling.download import Patience
from parley_cli.pulling.faults import PullError
from parley_cli.pulling.installing import Installed, Surroundings, install
from support.fake_model_host import FakeModelHost

# Quick to give up on, so that a test of giving up is short; what is asserted does not depend on it.
HASTY = Patience(attempt_count=3, retry_delay_ms=1, connect_timeout_ms=5_000, window_ms=400)
CALM = Patience(attempt_count=3, retry_delay_ms=1)
CONTENT = random.Random(7).randbytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MODEL = {"tokens.txt": b"<blk> 0\n", "encoder.onnx": CONTENT[:300_000], "more/README.md": b"hello"}


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
    entry: ModelEntry, folder: Path, patience: Patience = CALM, room: FreeBytes = free_bytes
) -> Installed:
    around = Surroundings(lambda done, total: None, lambda: None, patience, room)
    with locked(folder):
        return await install(entry, folder, around)


async def reason(
    entry: ModelEntry, folder: Path, patience: Patience = CALM, room: FreeBytes = free_bytes
) -> str:
    with pytest.raises(PullError) as raised:
        await installed(entry, folder, patience, room)
    assert raised.value.words
    return raised.value.reason


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".pulling.lock"}
