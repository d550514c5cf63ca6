"""A real Prometheus for tests: `PROMETHEUS` (a path), else an installed one, else Debian's package.

The package is unpacked and not installed, because installing it starts a service of the machine's own.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from support.debian_package import unpacked_program

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"
_START_MAX_S = 30.0
_STOP_MAX_S = 10.0


class NoPrometheusError(Exception):
    """No Prometheus can be had here, and why. is_mistake: somebody named one, and it is none."""

    def __init__(self, reason: str, *, is_mistake: bool = False) -> None:
        super().__init__(reason)
        self.is_mistake = is_mistake


class QueryError(Exception):
    """Prometheus refused or failed a request; its own words."""


def prometheus_program() -> Path:
    """Path of a `prometheus`, with `promtool` beside it. Raises NoPrometheusError."""
    if (named := os.environ.get("PROMETHEUS")) is not None:
        program = Path(named)
        if not all(os.access(each, os.X_OK) for each in (program, program.with_name("promtool"))):
            raise NoPrometheusError(
                "the variable PROMETHEUS names no prometheus with promtool beside it", is_mistake=True
            )
        return program
    installed = shutil.which("prometheus")
    if installed is not None and Path(installed).with_name("promtool").exists():
        return Path(installed)
    return _from_debian()


def promtool(*arguments: str | Path) -> str:
    """What `promtool` says. Raises AssertionError when it fails, with its words."""
    program = prometheus_program().with_name("promtool")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"promtool {arguments[0]} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


class PrometheusServer:
    """One server of ours on a free loopback port with the deployed configuration, but with `targets` of a test.

    targets: `host:port` by process name (gateway, asr, llm, tts).
    """

    def __init__(self, folder: Path, targets: Mapping[str, str]) -> None:
        self._program = prometheus_program()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        shutil.copytree(DEPLOYED / "rules", folder / "rules")
        (folder / "prometheus.yml").write_text(yaml.safe_dump(_config(targets)))

    def start(self) -> None:
        """Start and wait until it is ready to be asked."""
        command = [
            str(self._program),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=exemplar-storage",
        ]
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_MAX_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"prometheus did not start:\n{self.logs()[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, politely at first."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_MAX_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def logs(self) -> str:
        """What it has written so far."""
        return (self._folder / "prometheus.log").read_text(errors="replace")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector (or scalar, as one sample without labels) of an expression, now. Raises QueryError."""
        result = self.get("query", query=expression)
        if result["resultType"] == "scalar":
            return [{"metric": {}, "value": result["result"]}]
        return list(result["result"])

    def value(self, expression: str) -> float | None:
        """The only sample of an expression; None when there is none. Raises QueryError, AssertionError on many."""
        samples = self.query(expression)
        assert len(samples) <= 1, f"{expression} has {len(samples)} samples"
        return float(samples[0]["value"][1]) if samples else None

    def get(self, path: str, **parameters: str) -> Any:
        """`data` of a GET of /api/v1/<path>. Raises QueryError."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise QueryError(error.read().decode(errors="replace")) from None

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1) as response:
                return bool(response.status == 200)
        except OSError:
            return False


def _config(targets: Mapping[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        [static] = job["static_configs"]
        [target] = static["targets"]
        static["targets"] = [targets[target.partition(":")[0]]]
    return config


def _from_debian() -> Path:
    program = unpacked_program("prometheus", "prometheus")
    if program is None:
        raise NoPrometheusError(
            "no prometheus and promtool are installed, and Debian's package could not be downloaded; the variable"
            " PROMETHEUS may name a prometheus with promtool beside it"
        )
    return program


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
