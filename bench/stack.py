"""`running_stack`: the four processes with scripted engines, on free loopback ports, kept as `parley up` keeps them.

    async with running_stack(bench.folder, engine_scripts(plan.turns), pinned={"gateway": {0}}) as stack:
        before = stack.usage()
        ...
        spent = stack.usage()["gateway"].cpu_s - before["gateway"].cpu_s

A process that dies is started again by the command line's own supervisor. Everything ends with the context.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from parley_cli.supervisor import ChildEvent, ChildSpec, Supervisor, free_ports

PROCESSES = ("asr", "llm", "tts", "gateway")
_READY_S = 60.0
_RESTART_S = 30.0
_SCRAPE_S = 5.0
# Roomy: what limits a load is to be the machine, unless a scenario says otherwise.
_ROOMY = {
    "PARLEY_GATEWAY_SESSION_MAX_COUNT": "5000",
    "PARLEY_ASR_MAX_STREAMS": "5000",
    "PARLEY_LLM_PARALLEL_COUNT": "256",
    "PARLEY_LLM_QUEUE_MAX_COUNT": "5000",
    "PARLEY_TTS_MAX_STREAMS": "5000",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: CPU seconds so far (in ticks of 10 ms), and resident memory now."""

    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Ports:
    """gRPC and HTTP port of each process."""

    grpc: Mapping[str, int]
    http: Mapping[str, int]


@dataclass
class Stack:
    """A running stack. Addresses are `host:port` and stay the same when a process is started again; pids do not."""

    ports: Ports
    folder: Path
    pinned: Mapping[str, set[int]] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    ready_counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PROCESSES, 0))
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def gateway(self) -> str:
        """Where people talk to."""
        return self.address("gateway")

    def address(self, name: str) -> str:
        """gRPC address of a process."""
        return f"127.0.0.1:{self.ports.grpc[name]}"

    def http_address(self, name: str) -> str:
        """Address of a process's /metrics, /healthz and /readyz."""
        return f"127.0.0.1:{self.ports.http[name]}"

    def usage(self) -> dict[str, Usage]:
        """What each process has used so far."""
        return {name: _usage(pid) for name, pid in self.pids.items()}

    async def metrics(self, name: str) -> dict[str, float]:
        """Samples of a process's /metrics by name with labels: `parley_gateway_replies_total{outcome="failed"}`."""
        text = await http_get(self.http_address(name), "/metrics")
        return {
            _series(sample.name, sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def send_signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a process; what it returns is for `wait_restarted`."""
        os.kill(self.pids[name], number)
        return self.ready_counts[name]

    async def wait_restarted(self, name: str, ready_count: int, within_s: float = _RESTART_S) -> None:
        """Return when the process has been ready once more. TimeoutError when it takes longer."""
        async with asyncio.timeout(within_s):
            while self.ready_counts[name] <= ready_count:
                await self._changed.wait()

    def log(self, name: str) -> str:
        """What a process has written to its log."""
        return (self.folder / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def note(self, event: ChildEvent) -> None:
        """Take in what the supervisor tells."""
        if event.kind != "ready":
            return
        self.pids[event.name] = event.pid
        if event.name in self.pinned:
            pin(event.pid, self.pinned[event.name])
        self.ready_counts[event.name] += 1
        self._changed.set()
        self._changed = asyncio.Event()


def choose_ports() -> Ports:
    """Free ports, for who has to know them before the stack runs."""
    free = iter(free_ports(2 * len(PROCESSES)))
    return Ports({name: next(free) for name in PROCESSES}, {name: next(free) for name in PROCESSES})


@asynccontextmanager
async def running_stack(
    folder: Path,
    scripts: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, str] | None = None,
    *,
    pinned: Mapping[str, set[int]] | None = None,
    ports: Ports | None = None,
) -> AsyncIterator[Stack]:
    """All four ready; stopped at the end. scripts: of the scripted engines, by service (see `plan.engine_scripts`).

    environment: PARLEY_* variables on top of roomy limits. pinned: CPU numbers by process, also after a restart.
    Raises SupervisorError when they do not get ready.
    """
    ports = ports or choose_ports()
    stack = Stack(ports, folder, pinned or {})
    variables = _environment(folder, scripts, ports) | dict(environment or {})
    specs = [
        ChildSpec(name, f"parley_{name}", ports.grpc[name], ports.http[name], _own(name, variables))
        for name in PROCESSES
    ]
    async with Supervisor(specs, folder / "logs", stack.note).running(_READY_S):
        yield stack


def pin(pid: int, cpus: set[int]) -> None:
    """Keep a process, with all threads that it has and will have, on these CPUs. Where the system cannot: nothing."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread in (Path("/proc") / str(pid) / "task").iterdir():
        os.sched_setaffinity(int(thread.name), cpus)


async def http_get(address: str, path: str) -> str:
    """The body of a page. OSError where there is none, TimeoutError after 5 s."""
    host, port = address.rsplit(":", 1)
    async with asyncio.timeout(_SCRAPE_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
    if not head.startswith(b"HTTP/1.1 200 "):
        raise OSError(f"{path} answered {head[:64].decode('latin-1')!r}")
    return body.decode()


def _environment(folder: Path, scripts: Mapping[str, Mapping[str, Any]], ports: Ports) -> dict[str, str]:
    variables = dict(_ROOMY)
    for name in ("asr", "llm", "tts"):
        path = folder / f"{name}-script.json"
        path.write_text(json.dumps(scripts[name]))
        variables[f"PARLEY_{name.upper()}_ENGINE"] = "scripted"
        variables[f"PARLEY_{name.upper()}_SCRIPT_FILE"] = str(path)
        variables[f"PARLEY_GATEWAY_{name.upper()}_TARGET"] = f"127.0.0.1:{ports.grpc[name]}"
    return variables | {"PARLEY_GATEWAY_STATE_FOLDER": str(folder / "state")}


def _own(name: str, variables: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in variables.items() if key.startswith(f"PARLEY_{name.upper()}_")}


def _usage(pid: int) -> Usage:
    process = psutil.Process(pid)
    with process.oneshot():
        times = process.cpu_times()
        return Usage(times.user + times.system, process.memory_info().rss)


def _series(name: str, labels: Mapping[str, str]) -> str:
    told = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{told}}}" if told else name
