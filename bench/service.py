"""`running_service`: one process alone, for scenarios that measure a service without the others."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from parley_cli.supervisor import ChildEvent, ChildSpec, Supervisor, free_ports

_READY_S = 120.0


@dataclass(frozen=True)
class Service:
    """A running process. address: of gRPC, `host:port`."""

    address: str
    pid: int


@asynccontextmanager
async def running_service(name: str, folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Service]:
    """The process `name` (asr, llm, tts) with settings by their names without prefix, ready; stopped at the end."""
    port, http_port = free_ports(2)
    environment = {f"PARLEY_{name.upper()}_{key}": value for key, value in settings.items()}
    pids: list[int] = []

    def note(event: ChildEvent) -> None:
        if event.kind == "ready":
            pids.append(event.pid)

    spec = ChildSpec(name, f"parley_{name}", port, http_port, environment)
    async with Supervisor([spec], folder / "logs", note).running(_READY_S):
        yield Service(f"127.0.0.1:{port}", pids[-1])
