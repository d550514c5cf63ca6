"""How many live conversations one core of gateway CPU carries, and what a session that says nothing costs in memory.

The gateway is alone on its core; the services and the load generator have the others. Every session sends 20 ms frames
all the time and hears a reply for 30 % of it. The load grows until something gives way; what did is told.
"""

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass

from bench.figures import Figure, median_figure, quantile
from bench.load import Load, running_load
from bench.plan import PlanShape, Spread, engine_scripts, make_plan
from bench.records import SessionRecord
from bench.scenario import Bench, Findings, Plot
from bench.stack import Stack, running_stack
from bench.turns import measured_turns
from parley_client import Parley

TITLE = "Sessions per core, and memory of an idle one"
ORDER = 20
_CYCLE_MS, _REPLY_MS = 9600, 2880
_FIRST_COUNT, _GROWTH = 30, 2.0
_SMALLEST_COUNT, _LARGEST_COUNT = 5, 1000
# From here on a core counts as full, a client as too late to judge others, and reply audio as broken up.
_FULL_SHARE = 0.95
_CLIENT_LATE_MS = 50.0
_REPLY_LATE_MS = 200.0
_IN_TIME_MS = 20.0
_CORES_FOR_IN_TIME = 4


@dataclass(frozen=True, slots=True)
class Step:
    """One load, held for a while. Cores are CPU seconds per second.

    gateway_thirds: of each third of the window; limit: what gave way, empty where nothing did.
    """

    session_count: int
    gateway_cores: float
    gateway_thirds: tuple[float, ...]
    services_cores: float
    load_cores: float
    frame_lateness_p99_ms: float
    send_lateness_p99_ms: float
    reply_share: float
    turn_count: int
    limit: str

    @property
    def per_core(self) -> float:
        """Sessions that a whole core of gateway CPU would carry at this cost."""
        return self.session_count / self.gateway_cores


async def run(bench: Bench) -> Findings:
    """See the module's docstring."""
    steps = await _measured_ramp(bench)
    held = [step for step in steps if not step.limit]
    if not held:
        raise RuntimeError(f"not even {steps[0].session_count} sessions were held: {steps[0].limit}")
    best = held[-1]
    figures = {"sessions_per_core": _per_core_figure(best, steps)}
    notes = [f"{step.session_count} sessions were not held: {step.limit}." for step in steps if step.limit]
    in_time = [step.session_count for step in held if step.frame_lateness_p99_ms < _IN_TIME_MS]
    if (os.cpu_count() or 1) >= _CORES_FOR_IN_TIME:
        count = float(max(in_time, default=0))
        how = "largest step of the ramp with a p99 lateness of reply frames below 20 ms"
        figures["sessions_in_time"] = Figure(count, "sessions", len(steps), (count, count), how)
    else:
        notes.append(
            "sessions_in_time is left out: the load generator has no core of its own here. The largest step with a p99"
            f" lateness below 20 ms was {max(in_time, default=0)} sessions."
        )
    figures["memory_idle_session_kib"] = await _idle_memory(bench)
    return Findings(figures, _plots(steps), tuple(notes))


async def _measured_ramp(bench: Bench) -> list[Step]:
    gateway_cpus, other_cpus = _shared_out()
    pinned = {"gateway": gateway_cpus, "asr": other_cpus, "llm": other_cpus, "tts": other_cpus}
    folder = bench.folder / "ramp"
    folder.mkdir()
    # What the engines do is the same however many sessions there are.
    scripts = engine_scripts(make_plan(bench.seed, _shape(1)).turns)
    async with running_stack(folder, scripts, pinned=pinned) as stack:
        return await _ramp(bench, stack, other_cpus)


def _shape(count: int) -> PlanShape:
    fast = Spread(20, 80)
    return PlanShape(
        session_count=count,
        turn_count=8,
        cycle_ms=_CYCLE_MS,
        reply_ms=_REPLY_MS,
        stagger_ms=_CYCLE_MS,
        asr_final=fast,
        llm_first_token=fast,
        tts_first_audio=fast,
    )


async def _ramp(bench: Bench, stack: Stack, load_cpus: set[int]) -> list[Step]:
    """Steps with growing loads until one is not held; on a machine that does not hold the first one, shrinking ones."""
    steps: list[Step] = []
    count = _FIRST_COUNT
    while True:
        step = await _hold(bench, stack, load_cpus, count)
        steps.append(step)
        bench.say(
            f"{count} sessions: gateway {step.gateway_cores:.2f} core, {step.per_core:.0f} sessions per core,"
            f" frames p99 {step.frame_lateness_p99_ms:.0f} ms late{'; ' + step.limit if step.limit else ''}"
        )
        if step.limit and count <= _FIRST_COUNT and count >= _SMALLEST_COUNT:
            count //= 2
        elif step.limit or count >= _LARGEST_COUNT or count < _FIRST_COUNT:
            break
        else:
            # Not further than the gateway's core carries at this cost, or the step would only show that it does not.
            count = max(round(count * 1.15), min(round(count * _GROWTH), round(step.per_core * 0.85)))
    held_count = max((step.session_count for step in steps if not step.limit), default=0)
    if held_count >= _FIRST_COUNT and step.limit and not bench.is_short:
        steps.append(await _hold(bench, stack, load_cpus, (held_count + count) // 2))
    return sorted(steps, key=lambda step: step.session_count)


async def _hold(bench: Bench, stack: Stack, load_cpus: set[int], count: int) -> Step:
    window_s = (_CYCLE_MS if bench.is_short else 3 * _CYCLE_MS) / 1000
    plan = make_plan(bench.seed, _shape(count))
    async with running_load(
        stack.folder, stack.gateway, plan, cpus=load_cpus, times_from_settled=True
    ) as load:
        await load.settled()
        thirds = [await _spent(stack, load, window_s / 3) for _ in range(3)]
        records = await load.records(leave_now=True)
    turn_count = len(list(measured_turns(plan, records)))
    return _judged(count, thirds, records, window_s, turn_count)


async def _spent(stack: Stack, load: Load, length_s: float) -> dict[str, float]:
    """Cores that each process used for a while, the load generator among them."""
    before, load_before_s, began_at_s = stack.usage(), load.cpu_s(), time.monotonic()
    await asyncio.sleep(length_s)
    after, load_after_s, took_s = stack.usage(), load.cpu_s(), time.monotonic() - began_at_s
    spent = {name: (after[name].cpu_s - before[name].cpu_s) / took_s for name in before}
    return spent | {"load": (load_after_s - load_before_s) / took_s}


def _judged(
    count: int, thirds: list[dict[str, float]], records: list[SessionRecord], took_s: float, turn_count: int
) -> Step:
    cores = {name: sum(third[name] for third in thirds) / len(thirds) for name in thirds[0]}
    lateness_ms = [late for record in records for late in record.frame_lateness_ms] or [0.0]
    send_ms = [late for record in records for late in record.send_lateness_ms] or [0.0]
    frame_p99_ms, send_p99_ms = quantile(lateness_ms, 0.99), quantile(send_ms, 0.99)
    services = sum(cores[name] for name in ("asr", "llm", "tts"))
    troubles = [trouble for record in records if (trouble := _trouble(record))]
    limit = ""
    if cores["gateway"] >= _FULL_SHARE:
        limit = "the gateway's core was full"
    elif troubles:
        limit = f"{len(troubles)} sessions were refused, broke or failed ({', '.join(sorted(set(troubles)))})"
    elif send_p99_ms >= _CLIENT_LATE_MS:
        limit = f"services and load generator had no CPU left (the client's frames {send_p99_ms:.0f} ms late, p99)"
    elif frame_p99_ms >= _REPLY_LATE_MS:
        limit = f"reply frames came {frame_p99_ms:.0f} ms late at p99"
    reply_share = sum(record.reply_audio_ms for record in records) / 1000 / took_s / count
    return Step(
        session_count=count,
        gateway_cores=cores["gateway"],
        gateway_thirds=tuple(third["gateway"] for third in thirds),
        services_cores=services,
        load_cores=cores["load"],
        frame_lateness_p99_ms=frame_p99_ms,
        send_lateness_p99_ms=send_p99_ms,
        reply_share=reply_share,
        turn_count=turn_count,
        limit=limit,
    )


def _trouble(record: SessionRecord) -> str:
    """Why a session did not go as it should; empty where it did."""
    return record.refusal.reason if record.refusal else record.ended_by or next(iter(record.errors), "")


def _shared_out() -> tuple[set[int], set[int]]:
    """The gateway's CPU and everybody else's."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return {cpus[0]}, set(cpus[1:]) or {cpus[0]}


def _per_core_figure(best: Step, steps: list[Step]) -> Figure:
    gave_way = next((step.limit for step in steps if step.limit), "nothing gave way")
    thirds = [best.session_count / cores for cores in best.gateway_thirds]
    return Figure(
        best.per_core,
        "sessions",
        best.session_count,
        (min(thirds), max(thirds)),
        f"{best.session_count} live sessions held, gateway alone on one core and using {best.gateway_cores:.2f} of it;"
        f" reply audio {best.reply_share:.0%} of the time, p99 frame lateness {best.frame_lateness_p99_ms:.0f} ms;"
        f" beyond it {gave_way}; spread: thirds of the time",
    )


def _plots(steps: list[Step]) -> tuple[Plot, ...]:
    cpu = Plot(
        "What sessions cost",
        "line",
        {
            "gateway": [(step.session_count, step.gateway_cores) for step in steps],
            "asr, llm and tts (scripted)": [(step.session_count, step.services_cores) for step in steps],
            "load generator": [(step.session_count, step.load_cores) for step in steps],
        },
        x_label="live sessions",
        y_label="cores of CPU",
        y_marks=((1.0, "the gateway's core is full"),),
        caption="The flatter the gateway's line, the more sessions fit on a core.",
    )
    lateness = Plot(
        "How late reply audio comes",
        "line",
        {
            "reply frames, p99": [(step.session_count, step.frame_lateness_p99_ms) for step in steps],
            "the load generator's own frames, p99": [
                (step.session_count, step.send_lateness_p99_ms) for step in steps
            ],
        },
        x_label="live sessions",
        y_label="ms late",
        y_marks=((_IN_TIME_MS, "in time"),),
        caption="Where the generator's own frames are late, the machine is full, not the gateway.",
    )
    return cpu, lateness


# Memory.


async def _idle_memory(bench: Bench) -> Figure:
    """Growth of the gateway by sessions that are open and silent, after some have come and gone."""
    batch, rounds = (50, 2) if bench.is_short else (100, 4)
    bench.say(f"memory of {batch * rounds} idle sessions")
    folder = bench.folder / "idle"
    folder.mkdir()
    plan = make_plan(bench.seed, PlanShape(turn_count=1))
    async with running_stack(folder, engine_scripts(plan.turns)) as stack:
        async with contextlib.AsyncExitStack() as warming:
            await _open(stack, warming, batch)
        grown = []
        async with contextlib.AsyncExitStack() as open_sessions:
            before = await _settled_memory(stack)
            for _ in range(rounds):
                await _open(stack, open_sessions, batch)
                now = await _settled_memory(stack)
                grown.append((now - before) / 1024 / batch)
                before = now
    how = (
        f"growth of the gateway's resident memory by {rounds} batches of {batch} sessions that are open and send"
        f" nothing, each on a connection of its own, after {batch} others had come and gone"
    )
    whole = median_figure(grown, "KiB", how)
    return Figure(sum(grown) / rounds, "KiB", batch * rounds, whole.spread, how)


async def _open(stack: Stack, sessions: contextlib.AsyncExitStack, count: int) -> None:
    for _ in range(count):
        parley = await sessions.enter_async_context(Parley(stack.gateway))
        await sessions.enter_async_context(parley.converse())


async def _settled_memory(stack: Stack) -> int:
    await asyncio.sleep(1.5)
    return stack.usage()["gateway"].memory_bytes
