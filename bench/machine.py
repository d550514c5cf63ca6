"""What the machine is and how quiet it was, for readers of a report. No names of hosts or people, no paths."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil

from bench.figures import quantile

_PACKAGES = ("grpcio", "protobuf", "uvloop")
_SPIN_S = 1.0
_ROOT = Path(__file__).parents[1]


def described_machine() -> dict[str, object]:
    """For `report.json`. Takes about a second, in which it looks how much the machine disturbs a busy loop."""
    load = psutil.getloadavg()
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "virtualised": _is_virtual(),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "load_at_start": [round(value, 2) for value in load],
        "noise": spin_noise(),
    }


def spin_noise(length_s: float = _SPIN_S) -> dict[str, float]:
    """How a loop that does nothing but look at the clock is held up: by other processes, interrupts, the hypervisor.

    stolen_share: of the time that it could not run (holes of 0.1 ms and more); longest_ms, p99_ms: of the holes.
    """
    holes_ms = []
    began_at_s = last_s = time.perf_counter()
    while last_s < began_at_s + length_s:
        now_s = time.perf_counter()
        if now_s - last_s >= 1e-4:
            holes_ms.append((now_s - last_s) * 1000)
        last_s = now_s
    return {
        "stolen_share": round(sum(holes_ms) / 1000 / length_s, 4),
        "longest_ms": round(max(holes_ms, default=0.0), 2),
        "p99_ms": round(quantile(holes_ms, 0.99), 2) if holes_ms else 0.0,
    }


def commit() -> str:
    """The commit that is measured, with `+changes` where files differ from it; empty where there is no git."""
    told = _git("rev-parse", "--short=12", "HEAD")
    return told + "+changes" if told and _git("status", "--porcelain", "--untracked-files=no") else told


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _is_virtual() -> bool | None:
    """Whether a hypervisor is below; None where nothing tells."""
    if sys.platform != "linux":
        return None
    flags = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), ""
    )
    return "hypervisor" in flags.split() if flags else None


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
