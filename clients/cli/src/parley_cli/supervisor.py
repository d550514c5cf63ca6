"""`Supervisor`: keeps the four processes running. Behind `parley up` and `parley demo`.

A child that dies is reported and started again, with growing pauses; one that says its configuration is wrong (exit
code 2) ends everything, because starting it again would not help. Children get a session of their own, so that Ctrl-C
reaches the supervisor first, and die with it.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parley_cli.child_logs import ChildLogs

_RESTART_FIRST_S, _RESTART_LONGEST_S = 0.2, 5.0
# A child that ran this long was fine; its next failure starts with a short pause again.
_SETTLED_S = 10.0
_STOP_S = 12.0
# A child that has never been ready and fails so often will not be; its last words are shown.
_FIRST_START_MAX_COUNT = 4
_WRONG_CONFIGURATION = 2
_PR_SET_PDEATHSIG = 1
# Loaded before there is anything to fork: a child that has just been forked must not take locks.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A process to keep: its name (asr), the module that runs it, and its ports on 127.0.0.1."""

    name: str
    module: str
    port: int
    metrics_port: int
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """kind: starting, ready, died. detail: address, or how it ended. pid: 0 while there is none."""

    name: str
    kind: str
    detail: str = ""
    pid: int = 0


class SupervisorError(Exception):
    """It cannot go on; the message says what to do."""


class Supervisor:
    """Starts children, waits until all are ready, keeps them until the context ends."""

    def __init__(
        self, specs: Sequence[ChildSpec], log_folder: Path, on_event: Callable[[ChildEvent], None]
    ) -> None:
        self._specs = specs
        self._logs = ChildLogs(log_folder)
        self._on_event = on_event
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._ready: dict[str, asyncio.Event] = {spec.name: asyncio.Event() for spec in specs}
        self._is_stopping = False

    @contextlib.asynccontextmanager
    async def running(self, ready_within_s: float = 120.0) -> AsyncIterator[None]:
        """All children ready within; afterwards all stopped. Raises SupervisorError, OSError where logs cannot be."""
        check_ports(self._specs)
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = [
                    tasks.create_task(self._keep(spec), name=f"keep.{spec.name}") for spec in self._specs
                ]
                keeping.append(tasks.create_task(self._logs.keep_bounded(), name="keep.logs"))
                try:
                    await self._all_ready(ready_within_s)
                    yield
                finally:
                    self._is_stopping = True
                    await self._stop_all()
                    for task in keeping:
                        task.cancel()
        except* SupervisorError as group:
            raise group.exceptions[0] from None

    async def _all_ready(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                for event in self._ready.values():
                    await event.wait()
        except TimeoutError:
            late = [name for name, event in self._ready.items() if not event.is_set()]
            raise SupervisorError(
                f"{', '.join(late)} not ready within {within_s:.0f} s; {late[0]} said last: "
                f"{self._logs.last_words(late[0])} (logs are in {self._logs.folder})"
            ) from None

    async def _keep(self, spec: ChildSpec) -> None:
        pause_s = _RESTART_FIRST_S
        failed_count = 0
        while not self._is_stopping:
            started_at_s = time.monotonic()
            code = await self._run_once(spec)
            if self._is_stopping:
                return
            failed_count += 1
            has_failed_from_the_start = (
                failed_count >= _FIRST_START_MAX_COUNT and not self._ready[spec.name].is_set()
            )
            if code == _WRONG_CONFIGURATION or has_failed_from_the_start:
                raise SupervisorError(
                    f"{spec.name} cannot start: {self._logs.last_words(spec.name)} (logs are in {self._logs.folder})"
                )
            if time.monotonic() - started_at_s > _SETTLED_S:
                pause_s = _RESTART_FIRST_S
            self._on_event(ChildEvent(spec.name, "died", f"{_describe_exit(code)}; starting it again"))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _RESTART_LONGEST_S)

    async def _run_once(self, spec: ChildSpec) -> int:
        self._on_event(ChildEvent(spec.name, "starting"))
        with self._logs.open(spec.name) as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                spec.module,
                env=os.environ | child_environment(spec),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self._processes[spec.name] = process
        assert process.stdout is not None
        try:
            if self._is_stopping:
                process.terminate()
            async for line in process.stdout:
                self._take_line(spec, line)
            return await process.wait()
        finally:
            if process.returncode is None:
                _kill(process)

    def _take_line(self, spec: ChildSpec, line: bytes) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            ready = json.loads(line)
            if ready["event"] == "ready":
                self._ready[spec.name].set()
                self._on_event(
                    ChildEvent(spec.name, "ready", str(ready["grpc"]), self._processes[spec.name].pid)
                )

    async def _stop_all(self) -> None:
        # The gateway first: it says goodbye to its clients while the services can still finish a reply.
        await self._stop([spec.name for spec in self._specs if spec.name == "gateway"])
        await self._stop([spec.name for spec in self._specs if spec.name != "gateway"])

    async def _stop(self, names: Sequence[str]) -> None:
        processes = [self._processes[name] for name in names if name in self._processes]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        async with asyncio.TaskGroup() as tasks:
            for process in processes:
                tasks.create_task(_wait_or_kill(process), name="supervisor.stop")


def check_ports(specs: Sequence[ChildSpec]) -> None:
    """Raises SupervisorError naming the first port that cannot be had, and the variable that moves it."""
    wanted: dict[int, str] = {}
    for spec in specs:
        for variable, port in (("PORT", spec.port), ("METRICS_PORT", spec.metrics_port)):
            name = f"PARLEY_{spec.name.upper()}_{variable}"
            if port in wanted:
                raise SupervisorError(f"{wanted[port]} and {name} are both {port}")
            wanted[port] = name
            _check_port(spec.name, name, port)


def _check_port(process: str, variable: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise SupervisorError(f"port {port} is not for everybody: set {variable}") from None
        except OSError:
            raise SupervisorError(
                f"port {port}, which {process} needs, is taken: stop what uses it (perhaps another "
                f"'parley up'), set {variable}, or run with --any-port"
            ) from None


def child_environment(spec: ChildSpec) -> dict[str, str]:
    """The variables that a child gets on top of ours."""
    prefix = f"PARLEY_{spec.name.upper()}_"
    return {
        **spec.environment,
        f"{prefix}PORT": str(spec.port),
        f"{prefix}METRICS_PORT": str(spec.metrics_port),
        f"{prefix}READY_LINE": "true",
        "PYTHONUNBUFFERED": "1",
        # Otherwise gRPC writes a line of its own, which is not JSON, whenever a service starts a child.
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }


def free_ports(count: int) -> list[int]:
    """Ports that are free now. Held together while they are looked for, so that no two are the same."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


async def _wait_or_kill(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        _kill(process)
        await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    # With whatever it has started: its session is a process group of its own.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _describe_exit(code: int) -> str:
    return f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
