"""The containers of `compose.embedded.yaml` as one thing for tests: up, kill, start, ask, and nothing left behind."""

import asyncio
import json
import os
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from parley_client import Parley
from parley_servicekit.faults import Fault
from support.container_engine import ROOT, docker_client

_PROJECT_LABEL = "com.docker.compose.project"
_COMMAND_MAX_S = 900.0
_HEALTHY_MAX_S = 60.0
# A developer's own .env must not decide what is tested.
_OVERRIDE = "services:\n" + "".join(
    f"  {name}: {{env_file: !reset []}}\n" for name in ("gateway", "asr", "llm", "tts")
)


class ComposeStack:
    """A project of its own on free ports. `environment` leads `docker` to the engine."""

    def __init__(self, engine: docker.DockerClient, environment: dict[str, str], folder: Path) -> None:
        self.engine = engine
        self.project = f"parley-test-{os.getpid()}"
        self.gateway_port, self.prometheus_port = _free_ports(2)
        self._override = folder / "override.yaml"
        self._override.write_text(_OVERRIDE)
        self._environment = {
            **{name: value for name, value in environment.items() if not name.startswith("PARLEY_")},
            "GATEWAY_PUBLISHED_PORT": str(self.gateway_port),
            "PROMETHEUS_PUBLISHED_PORT": str(self.prometheus_port),
        }

    @property
    def gateway(self) -> str:
        """`host:port` of the published port."""
        return f"127.0.0.1:{self.gateway_port}"

    def compose(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """What a compose command prints. Raises AssertionError with its words when it fails."""
        done = self.run(*arguments, environment=environment)
        assert done.returncode == 0, f"docker compose {arguments[0]} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def run(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A compose command and how it ended."""
        files = [str(ROOT / "compose.embedded.yaml"), str(self._override)]
        command = ["docker", "compose", "--env-file", os.devnull, "--project-name", self.project]
        command += [part for file in files for part in ("--file", file)]
        return subprocess.run(
            [*command, *arguments], cwd=ROOT, env=self._environment | (environment or {}),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_MAX_S, check=False,
        )  # fmt: skip

    def containers(self) -> dict[str, Container]:
        """By service."""
        found = self.engine.containers.list(all=True, filters={"label": f"{_PROJECT_LABEL}={self.project}"})
        return {each.labels["com.docker.compose.service"]: each for each in found}

    def kill(self, service: str) -> None:
        """kill -9. An engine does not start again by itself what was killed through it."""
        container = self.containers()[service]
        container.kill("SIGKILL")
        container.wait(timeout=10)

    def start(self, service: str) -> None:
        """Start it again; returns when it is healthy."""
        container = self.containers()[service]
        container.start()
        deadline = time.monotonic() + _HEALTHY_MAX_S
        while health(container) != "healthy":
            assert time.monotonic() < deadline, f"{service} is {health(container)}:\n{self.logs(service)}"
            time.sleep(0.2)

    def logs(self, service: str) -> str:
        """What a container has written, its last lines."""
        return str(self.containers()[service].logs(tail=60).decode(errors="replace"))

    def prometheus(self, path: str, **parameters: str) -> Any:
        """`data` of a GET of Prometheus's /api/v1/<path>."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.prometheus_port}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]

    async def wait_until_whole(self) -> None:
        """Return when the gateway reaches its three services and its store."""
        deadline = time.monotonic() + _HEALTHY_MAX_S
        async with Parley(self.gateway) as parley:
            while missing := await _missing(parley):
                assert time.monotonic() < deadline, f"{missing}:\n{self.logs('gateway')}"
                await asyncio.sleep(0.1)

    def leftovers(self) -> list[str]:
        """Containers, volumes and networks of the project that are still there."""
        label = {"label": f"{_PROJECT_LABEL}={self.project}"}
        return [
            *(each.name for each in self.engine.containers.list(all=True, filters=label)),
            *(each.name for each in self.engine.volumes.list(filters=label)),
            *(each.name for each in self.engine.networks.list(filters=label)),
        ]


async def _missing(parley: Parley) -> str:
    """What a gateway lacks, empty when nothing."""
    try:
        status = await parley.status()
    except Fault as fault:
        return f"{fault.reason}: {fault.message}"
    away = [each.service for each in status.services if not each.is_serving]
    return ", ".join(away + ["store"] * (not status.is_store_available))


def health(container: Container) -> str:
    """starting, healthy or unhealthy; the state of a container that is not running."""
    container.reload()
    state = container.attrs["State"]
    return str(state["Health"]["Status"] if state["Running"] else state["Status"])


@contextmanager
def compose_stack(environment: dict[str, str], folder: Path) -> Iterator[ComposeStack]:
    """A project that is not up yet; whatever becomes of it is removed at the end, its volumes too."""
    with docker_client(environment) as engine:
        stack = ComposeStack(engine, environment, folder)
        try:
            yield stack
        except BaseException:
            print(stack.run("logs", "--no-color", "--tail", "40").stdout)
            raise
        finally:
            stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        assert stack.leftovers() == []


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
