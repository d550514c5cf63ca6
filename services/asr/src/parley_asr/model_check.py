"""Loads and tries the configured models in a throw-away process, because the library may end the process it is in.

`bootstrap` calls `check_models` before it loads them itself; the child is `python -m parley_asr.model_check`.
"""

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from parley_asr import faults
from parley_asr.engines.sherpa_streaming import SherpaOptions, SherpaStreamingEngine
from parley_asr.engines.sherpa_voice_activity import SherpaVoiceActivityEngine
from parley_asr.ports import SAMPLE_RATE_HZ, WINDOW_SAMPLE_COUNT, StreamRequest
from parley_servicekit.faults import Fault

_UNUSABLE_EXIT_CODE = 2
_STDERR_TAIL_BYTES = 4096
_REASON_MAX_CHARS = 200
_SOURCE_PLACE = re.compile(r"^\S+\.(cc|h|cpp):\S*?:\d+\s*")


async def check_models(options: SherpaOptions, vad_model_file: Path, timeout_ms: int) -> None:
    """Raises Fault (FAILED_PRECONDITION) with one line that says why the models cannot be served."""
    command = ["-m", "parley_asr.model_check", str(options.folder), str(vad_model_file)]
    command += [options.provider, str(options.thread_count)]
    with tempfile.TemporaryFile() as stderr:
        child = await asyncio.to_thread(_spawn, command, stderr)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                exit_code = await asyncio.to_thread(child.wait)
        except TimeoutError:
            raise faults.unusable_model(
                f"loading {options.folder.name} took longer than {timeout_ms} ms"
            ) from None
        finally:
            child.kill()
            await asyncio.to_thread(child.wait)
        if exit_code != 0:
            size = stderr.seek(0, 2)
            stderr.seek(max(0, size - _STDERR_TAIL_BYTES))
            raise faults.unusable_model(_reason(options, exit_code, stderr.read()))


def _spawn(arguments: list[str], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    # Not asyncio's: uvloop forks, which gRPC's fork handlers notice and complain about on standard error.
    return subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
    )


def _reason(options: SherpaOptions, exit_code: int, stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode("utf-8", errors="replace").splitlines() if line.strip()]
    said = _SOURCE_PLACE.sub("", lines[-1])[:_REASON_MAX_CHARS] if lines else "no word about why"
    if exit_code == _UNUSABLE_EXIT_CODE:
        return said
    return f"loading {options.folder.name} ended the process that tried it (exit code {exit_code}): {said}"


async def _try(options: SherpaOptions, vad_model_file: Path) -> None:
    """Load both models and take a second of noise through them."""
    noise = (np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ) * 0.1).astype(np.float32)
    engine = await SherpaStreamingEngine.open(options)
    stream = await engine.open_stream(StreamRequest())
    await stream.decode(noise)
    await stream.finish()
    await engine.close()
    detector = SherpaVoiceActivityEngine(vad_model_file, 1)
    ear = await detector.open_stream(0.5)
    await ear.detect(noise[: 4 * WINDOW_SAMPLE_COUNT])
    await detector.close()


def main() -> int:
    """The child: exit code 0 when the models work, 2 with a line on standard error when they are refused."""
    parser = argparse.ArgumentParser(prog="parley_asr.model_check")
    parser.add_argument("folder", type=Path)
    parser.add_argument("vad_model_file", type=Path)
    parser.add_argument("provider")
    parser.add_argument("thread_count", type=int)
    arguments = parser.parse_args()
    options = SherpaOptions(
        arguments.folder, provider=arguments.provider, thread_count=arguments.thread_count
    )
    try:
        asyncio.run(_try(options, arguments.vad_model_file))
    except Fault as fault:
        print(fault.message, file=sys.stderr)  # noqa: T201
        return _UNUSABLE_EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
