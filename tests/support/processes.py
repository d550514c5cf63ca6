"""Starts a Parley process as a real child on ports of its own choosing, and ends it. Used by integration tests.

    async with started_process("parley_asr", env={"PARLEY_ASR_ENGINE": "scripted", ...}) as process:
        channel = open_channel(process.grpc_address)

Only what was started here is ever killed. The child's logs go to a temporary file and are printed when a test fails
inside the block, or when the child never becomes ready.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_READY_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 15.0
_LOG_TAIL_CHARS = 8000


@dataclass
class StartedProcess:
    """A running child. Addresses are `host:port`."""

    child: asyncio.subprocess.Process
    grpc_address: str
    metrics_address: str
    log_file: Path

    @property
    def pid(self) -> int:
        return self.child.pid

    def logs(self) -> str:
        """What it has written to standard error so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """SIGKILL."""
        self.child.kill()

    def terminate(self) -> None:
        """SIGTERM: drain."""
        self.child.terminate()

    def freeze(self) -> None:
        """SIGSTOP: alive, but answering nothing."""
        self.child.send_signal(signal.SIGSTOP)

    async def wait(self, timeout_s: float = _STOP_TIMEOUT_S) -> int:
        """The exit code (negative: the signal). TimeoutError when it does not end."""
        async with asyncio.timeout(timeout_s):
            return await self.child.wait()


class StartError(Exception):
    """The child ended, or said nothing, instead of becoming ready. `exit_code` is None when it had to be killed."""

    def __init__(self, module: str, exit_code: int | None, logs: str) -> None:
        super().__init__(f"{module} did not become ready (exit code {exit_code}):\n{logs[-_LOG_TAIL_CHARS:]}")
        self.exit_code = exit_code
        self.logs = logs


@asynccontextmanager
async def started_process(
    module: str, env: Mapping[str, str] | None = None, *, ready_timeout_s: float = _READY_TIMEOUT_S
) -> AsyncIterator[StartedProcess]:
    """`python -m module` with ephemeral ports, ready; killed at the end of the block if it still runs then.

    env is added to this process's environment without its PARLEY_* variables. Raises StartError.
    """
    prefix = module.upper()
    settings = {f"{prefix}_PORT": "0", f"{prefix}_METRICS_PORT": "0", f"{prefix}_READY_LINE": "true"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    with tempfile.TemporaryDirectory() as folder:
        log_file = Path(folder) / "stderr.log"
        with log_file.open("wb") as log:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**inherited, **settings, **(env or {})},
            )
        try:
            ready = await _ready_line(child, ready_timeout_s)
            if ready is None:
                exit_code = child.returncode
                logs = log_file.read_text(encoding="utf-8", errors="replace")
                raise StartError(module, exit_code, logs)
            process = StartedProcess(child, ready["grpc"], ready["metrics"], log_file)
            try:
                yield process
            except BaseException:
                print(f"--- logs of {module} ---\n{process.logs()[-_LOG_TAIL_CHARS:]}", file=sys.stderr)
                raise
        finally:
            if child.returncode is None:
                child.kill()
            await child.wait()


async def _ready_line(child: asyncio.subprocess.Process, timeout_s: float) -> dict[str, str] | None:
    """The ready line; None when the child ends first (then it has been waited for) or takes too long."""
    if child.stdout is None:
        raise ValueError("the child's standard output is not a pipe")
    try:
        async with asyncio.timeout(timeout_s):
            async for line in child.stdout:
                if line.startswith(b"{"):
                    told: dict[str, str] = json.loads(line)
                    if told.get("event") == "ready":
                        return told
            await child.wait()
    except TimeoutError:
        return None
    return None
