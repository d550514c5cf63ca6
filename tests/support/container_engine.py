"""A Docker engine with Compose v2 for tests: the one that `DOCKER_HOST` or the machine offers, else a private one.

The private one is started by a script that may lie beside the checkout; nothing here depends on it.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

ROOT = Path(__file__).parents[2]
PRIVATE_ENGINE = ROOT.parent / "shared" / "tools" / "docker-engine"
COMPOSE_LEAST = (2, 24)
_SCRIPT_MAX_S = 600.0


class NoEngineError(Exception):
    """No engine can be had here, and why. is_mistake: somebody named one, and it is none."""

    def __init__(self, reason: str, *, is_mistake: bool = False) -> None:
        super().__init__(reason)
        self.is_mistake = is_mistake


@contextmanager
def container_engine() -> Iterator[dict[str, str]]:
    """The environment for `docker` commands while an engine runs. Raises NoEngineError."""
    inherited = dict(os.environ)
    if _answers(inherited):
        _check_compose(inherited)
        yield inherited
        return
    if "DOCKER_HOST" in os.environ:
        raise NoEngineError("no engine answers at the variable DOCKER_HOST", is_mistake=True)
    if not PRIVATE_ENGINE.exists():
        raise NoEngineError("no Docker engine answers here (the variable DOCKER_HOST may name one)")
    if os.geteuid() != 0:
        raise NoEngineError("no Docker engine answers here, and only root may start a private one")
    with _private_engine() as environment:
        _check_compose(environment)
        yield environment


@contextmanager
def _private_engine() -> Iterator[dict[str, str]]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "parley-tests" / "docker-engine"
    folder.mkdir(parents=True, exist_ok=True)
    was_running = _answers({**os.environ, "DOCKER_HOST": f"unix://{folder}/docker.sock"})
    said = _run_script("up", folder)
    try:
        _run_script("standins", folder)
        yield {**os.environ, **dict(re.findall(r"\b([A-Z_]+)=(\S+)", said))}
    finally:
        if not was_running:
            _run_script("down", folder)


def _run_script(command: str, folder: Path) -> str:
    # Into a file: the engine inherits what is open, and a pipe would never end.
    log = folder / f"{command}.out"
    with log.open("wb") as output:
        try:
            subprocess.run(
                [PRIVATE_ENGINE, command, folder], stdout=output, timeout=_SCRIPT_MAX_S, check=True
            )
        except subprocess.SubprocessError as error:  # a machine without namespaces or packages, say
            raise NoEngineError(f"a private engine cannot be had here: {error}") from None
    return log.read_text()


def _answers(environment: dict[str, str]) -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        with docker_client(environment) as client:
            return bool(client.ping())
    except DockerException:
        return False


@contextmanager
def docker_client(environment: dict[str, str]) -> Iterator[docker.DockerClient]:
    """A client of the engine that `environment` leads to."""
    client = docker.from_env(environment=environment, timeout=60)
    try:
        yield client
    finally:
        client.close()


def _check_compose(environment: dict[str, str]) -> None:
    problem = _compose_problem(environment)
    if problem is not None:
        raise NoEngineError(problem)


def _compose_problem(environment: dict[str, str]) -> str | None:
    """Why `docker compose` cannot be used; None when it can. Asks no engine."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    done = subprocess.run(
        ["docker", "compose", "version", "--short"],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    version = re.match(r"v?(\d+)\.(\d+)", done.stdout.strip())
    if done.returncode != 0 or version is None:
        return "the docker command has no Compose v2"
    if (int(version[1]), int(version[2])) < COMPOSE_LEAST:
        return f"Compose {version[0]} is too old: {COMPOSE_LEAST[0]}.{COMPOSE_LEAST[1]} or later is needed"
    return None
