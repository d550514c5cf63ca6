"""`running_load`: many people at once, in processes of their own, so that measuring does not disturb what is measured.

    async with running_load(bench.folder, stack.gateway, plan, cpus={1}) as load:
        await load.settled()                    # every session is open, or was refused
        ...                                     # measure
        records = await load.records()          # when the last one has left

Run as `python -m bench.load SPEC.json` it is such a process: it reads the plan and writes the records.
"""

import asyncio
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.child import stop
from bench.person import Person
from bench.plan import Plan, plan_from_json
from bench.records import SessionRecord, record_from_json
from bench.speech import clip_frames

_ROOT = Path(__file__).parents[1]
_START_S = 30.0
# After the last planned frame: replies that are still played, and a machine that is behind.
_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Worker:
    process: asyncio.subprocess.Process
    records_file: Path


@dataclass
class Load:
    """People who are talking."""

    workers: list[_Worker]
    length_s: float

    def cpu_s(self) -> float:
        """CPU seconds that the load itself has used so far; only while somebody is talking."""
        times = [psutil.Process(worker.process.pid).cpu_times() for worker in self.workers]
        return sum(each.user + each.system for each in times)

    async def settled(self) -> None:
        """Every session is open, or was refused. TimeoutError when that takes far longer than planned."""
        async with asyncio.timeout(_START_S + self.length_s):
            for worker in self.workers:
                await _line(worker, "settled")

    async def records(self, *, leave_now: bool = False) -> list[SessionRecord]:
        """What they noted, by session; waits until the last one has left. TimeoutError when they do not."""
        if leave_now:
            for worker in self.workers:
                worker.process.terminate()
        async with asyncio.timeout(self.length_s + _GRACE_S):
            for worker in self.workers:
                await _line(worker, "done")
        read = [
            record_from_json(each)
            for worker in self.workers
            for each in json.loads(worker.records_file.read_bytes())
        ]
        return sorted(read, key=lambda record: record.index)


@asynccontextmanager
async def running_load(
    folder: Path,
    target: str,
    plan: Plan,
    *,
    cpus: set[int] | None = None,
    process_count: int = 1,
    times_from_settled: bool = False,
) -> AsyncIterator[Load]:
    """People who do what `plan` says at `target`, in process_count processes on `cpus` (None: anywhere).

    times_from_settled: frame and send lateness, gaps and reply audio count from when all sessions are open.
    """
    length_s = max((each.open_at_ms + each.frame_count * 20) / 1000 for each in plan.sessions)
    workers: list[_Worker] = []
    try:
        for index in range(process_count):
            spec = {
                "target": target,
                "plan": plan.part(index, process_count).to_json(),
                "cpus": sorted(cpus or ()),
                "records_file": str(folder / f"load-{index}-records.json"),
                "times_from_settled": times_from_settled,
            }
            workers.append(await _start(folder / f"load-{index}.json", spec))
        yield Load(workers, length_s)
    finally:
        for worker in workers:
            await stop(worker.process)


async def run_load(
    folder: Path, target: str, plan: Plan, *, cpus: set[int] | None = None, process_count: int = 1
) -> list[SessionRecord]:
    """`running_load` from beginning to end."""
    async with running_load(folder, target, plan, cpus=cpus, process_count=process_count) as load:
        await load.settled()
        return await load.records()


async def _start(spec_file: Path, spec: dict[str, Any]) -> _Worker:
    await asyncio.to_thread(spec_file.write_text, json.dumps(spec))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", str(spec_file),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, cwd=_ROOT,
    )  # fmt: skip
    return _Worker(process, Path(spec["records_file"]))


async def _line(worker: _Worker, wanted: str) -> None:
    assert worker.process.stdout is not None
    async for line in worker.process.stdout:
        if line.strip() == wanted.encode():
            return
    raise RuntimeError(f"a load process ended with {await worker.process.wait()}")


# In the process itself.


async def _talk(people: Sequence[Person], open_at_ms: Sequence[int], *, times_from_settled: bool) -> None:
    """Until all have left; SIGTERM lets them leave at once."""
    began_at_s = time.monotonic()

    async def live(person: Person, at_ms: int) -> None:
        await asyncio.sleep(max(0.0, began_at_s + at_ms / 1000 - time.monotonic()))
        await person.converse()

    async with asyncio.TaskGroup() as tasks:
        living = [tasks.create_task(_tell_settled(people, forget=times_from_settled), name="load.settled")]
        for person, at_ms in zip(people, open_at_ms, strict=True):
            living.append(tasks.create_task(live(person, at_ms), name=f"person.{person.record.index}"))

        def leave() -> None:
            for each in living:
                each.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)


async def _tell_settled(people: Sequence[Person], *, forget: bool) -> None:
    for person in people:
        await person.is_settled.wait()
    if forget:
        for person in people:
            person.record.forget_times()
    print("settled", flush=True)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop  # noqa: PLC0415 - optional, as in the processes under test

    return uvloop.new_event_loop


def _main(spec_file: Path) -> None:
    spec: dict[str, Any] = json.loads(spec_file.read_bytes())
    if spec["cpus"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, spec["cpus"])
    plan = plan_from_json(spec["plan"])
    for session in plan.sessions:
        for spoken in session.spoken:
            clip_frames(spoken.clip, spoken.shift_samples)  # encoded before anybody has to be in time
    people = [Person(spec["target"], session) for session in plan.sessions]
    open_at_ms = [session.open_at_ms for session in plan.sessions]
    # The loop of the processes under test: a slower one would make the client the bottleneck.
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_talk(people, open_at_ms, times_from_settled=spec["times_from_settled"]))
    Path(spec["records_file"]).write_text(json.dumps([person.record.to_json() for person in people]))
    print("done", flush=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
