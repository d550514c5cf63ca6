"""A program out of a Debian package for tests that miss it: unpacked into the user's cache, not installed.

Installing could start a service of the machine's own. Used by `prometheus_server` and `kubernetes_tools`.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_DOWNLOAD_MAX_S = 180.0


def unpacked_program(package: str, program: str) -> Path | None:
    """Path of `/usr/bin/<program>` of a package, kept for the next time; None where it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parley-tests" / package
    path = cache / "usr" / "bin" / program
    if path.exists():
        return path
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return None
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as name:
        folder = Path(name)
        if not _download(package, folder) and os.geteuid() == 0:
            _run(["apt-get", "update"], folder)
            _download(package, folder)
        packages = list(folder.glob(f"{package}_*.deb"))
        if not packages or not _run(["dpkg-deb", "-x", str(packages[0]), str(folder / "out")], folder):
            return None
        shutil.rmtree(cache, ignore_errors=True)
        (folder / "out").rename(cache)
    return path


def _download(package: str, folder: Path) -> bool:
    return _run(["apt-get", "download", package], folder)


def _run(command: list[str], folder: Path) -> bool:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_DOWNLOAD_MAX_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
