"""Ends a process that the benchmark started. Used by `load` and `peers.contender`."""

import asyncio

_STOP_S = 10.0


async def stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL to one that does not end."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
