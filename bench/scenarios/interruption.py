"""Interrupting: how soon a reply falls silent, how soon the engines stop, and a client that stops reading."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bench.figures import Figure, quantile, quantile_figure
from bench.load import running_load
from bench.plan import END_SILENCE_MS, Plan, PlanShape, Spread, engine_scripts, make_plan
from bench.records import SessionRecord
from bench.scenario import Bench, Findings, Plot
from bench.speech import FRAME_SAMPLE_COUNT, SAMPLE_RATE_HZ
from bench.stack import Stack, running_stack
from bench.stalled_client import Stall, stalled
from parley_client import Parley

TITLE = "Interrupting a reply, and a client that stops reading"
ORDER = 40

_LONG_QUESTION = "something long"
_STALL_S = 7.0
"""Below the 10 s after which the gateway gives such a client up."""
_CANCEL_WITHIN_S = 2.0
_PATIENCE_S = 15.0
_REAL_TIME_FACTOR = 0.3
"""The synthesiser is at work on most of a phrase's audio while it plays, so that there is something to cancel."""


async def run(bench: Bench) -> Findings:
    """See the module's docstring."""
    plan = make_plan(bench.seed, plan_shape(is_short=bench.is_short))
    interrupts = interrupt_delays(bench.seed, 12 if bench.is_short else 300)
    scripts = engine_scripts(plan.turns)
    scripts["llm"]["answers"].insert(
        0, {"when_asked": _LONG_QUESTION, "deltas": ["and on it goes, "], "repeat": 400, "delta_ms": 30}
    )
    scripts["tts"]["real_time_factor"] = _REAL_TIME_FACTOR
    async with running_stack(bench.folder, scripts) as stack:
        bench.say(f"{len(interrupts)} replies are interrupted by the client, one after the other")
        asked_at_s = await _interrupt(stack.gateway, interrupts)
        cancels = {name: delays_after(asked_at_s, cancelled_at_s(stack.log(name))) for name in ("llm", "tts")}
        bench.say(
            f"{len(plan.sessions)} people interrupt every reply by speaking; meanwhile two clients stop reading"
        )
        records, stalls, stalled_at_s = await _interrupt_by_speaking(bench, stack, plan)
    stops_ms, missed_count = stop_delays(plan, records)
    bench.say(
        f"{len(stops_ms)} replies stopped, {missed_count} did not; median {quantile(stops_ms, 0.5):.0f} ms"
    )
    figures = {
        "bargein_stop_p95_ms": quantile_figure(
            stops_ms,
            0.95,
            "ms",
            f"{len(plan.sessions)} people at once speak over every reply (scripted recogniser, whose detector hears"
            " level alone): labelled onset in the WAV as recorded → the client is told to throw its buffer away;"
            f" {missed_count} replies went on",
        ),
        "bargein_upstream_cancel_p95_ms": quantile_figure(
            [delay for delays in cancels.values() for delay in delays],
            0.95,
            "ms",
            "client sends interrupt → the scripted chat engine and the scripted synthesiser, both at work, have wound"
            " up (their process's log); so it holds the way to the gateway and the decision too",
        ),
        "stalled_client_buffer_s": _stall_figure(stalls, plan, records, stalled_at_s),
    }
    plots = (
        Plot(
            "How soon a reply falls silent",
            "cdf",
            {"onset of speech to silence": stops_ms},
            x_label="milliseconds",
            x_marks=((200.0, "goal"),),
            caption="The recogniser has to hear 96 ms of speech before it calls it speech.",
        ),
        Plot(
            "How soon the engines stop", "cdf", dict(cancels), x_label="milliseconds after interrupt was sent"
        ),
    )
    missing = [f"{name}: {len(interrupts) - len(delays)}" for name, delays in cancels.items()]
    return Findings(
        figures, plots, (f"Interrupts whose cancel no engine noted within 2 s: {', '.join(missing)}",)
    )


def plan_shape(*, is_short: bool) -> PlanShape:
    """Everybody's next turn begins while the reply to the one before is being played."""
    session_count, turn_count = (8, 4) if is_short else (20, 30)
    return PlanShape(
        session_count,
        turn_count,
        cycle_ms=4000,
        reply_ms=9000,
        stagger_ms=2000 if is_short else 4000,
        asr_final=Spread(20, 40),
        llm_first_token=Spread(40, 80),
        tts_first_audio=Spread(20, 60),
    )


def interrupt_delays(seed: int, count: int) -> list[float]:
    """Seconds from a reply's first audio to the interrupt, for each reply."""
    chance = random.Random(f"{seed} interrupts")
    return [chance.uniform(0.05, 0.4) for _ in range(count)]


async def _interrupt(target: str, delays_s: Sequence[float]) -> list[float]:
    """When each interrupt was sent, in seconds of the wall clock, which the logs have."""
    sent_at_s = []
    async with Parley(target) as parley, parley.converse() as conversation:
        responses = aiter(conversation)
        for delay_s in delays_s:
            await conversation.send_text(_LONG_QUESTION)
            await _next(responses, "reply_audio")
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(_next(responses, "reply_ended"), name="interruption.read")
                await asyncio.sleep(delay_s)
                sent_at_s.append(time.time())
                await conversation.interrupt()
                await reading
    return sent_at_s


async def _next(responses: Any, kind: str) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while (await anext(responses)).WhichOneof("response") != kind:
            pass


def cancelled_at_s(log: str) -> list[float]:
    """When requests were cancelled, in seconds of the wall clock, by the log of the llm or the tts process."""
    moments = []
    for line in log.splitlines():
        if '"outcome": "cancelled"' in line:
            moments.append(datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp())
    return moments


def delays_after(asked_at_s: Sequence[float], seen_at_s: Sequence[float]) -> list[float]:
    """Milliseconds from each asking to the first thing seen after it; left out where that took over 2 s."""
    delays = []
    for asked, following in itertools.zip_longest(asked_at_s, asked_at_s[1:]):
        until = min(asked + _CANCEL_WITHIN_S, following or float("inf"))
        seen = [each for each in seen_at_s if asked <= each < until]
        if seen:
            delays.append((min(seen) - asked) * 1000)
    return delays


async def _interrupt_by_speaking(
    bench: Bench, stack: Stack, plan: Plan
) -> tuple[list[SessionRecord], list[Stall], float]:
    """The people's records, the stalls, and when they began."""
    async with running_load(bench.folder, stack.gateway, plan) as load:
        await load.settled()
        await asyncio.sleep(max(0.0, load.length_s / 2 - plan.sessions[-1].open_at_ms / 1000))
        stalled_at_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            stalling = [
                tasks.create_task(stalled(stack.gateway, _LONG_QUESTION, _STALL_S), name=f"stall.{index}")
                for index in range(2)
            ]
        return await load.records(), [task.result() for task in stalling], stalled_at_s


def stop_delays(plan: Plan, records: Sequence[SessionRecord]) -> tuple[list[float], int]:
    """Milliseconds from the onset of speech over a reply to its end, and how many replies went on regardless."""
    delays, missed_count = [], 0
    spoken_by_session = {session.index: session.spoken for session in plan.sessions}
    for record in records:
        spoken = spoken_by_session[record.index]
        for turn, following in itertools.pairwise(record.turns):
            if turn.first_audio_at_s is None or turn.first_audio_at_s > following.onset_at_s:
                continue
            # The frame with the onset leaves when its last sample has been recorded.
            within = spoken[following.index].shift_samples % FRAME_SAMPLE_COUNT
            onset_at_s = following.onset_at_s - (FRAME_SAMPLE_COUNT - within) / SAMPLE_RATE_HZ
            if turn.outcome == "INTERRUPTED" and turn.ended_at_s is not None:
                delays.append((turn.ended_at_s - onset_at_s) * 1000)
            else:
                missed_count += 1
    return delays, missed_count


def _stall_figure(
    stalls: Sequence[Stall], plan: Plan, records: Sequence[SessionRecord], stalled_at_s: float
) -> Figure:
    before: list[float] = []
    during: list[float] = []
    engines_ms = {script.heard: script.engines_ms for script in plan.turns}
    for record in records:
        for turn in record.turns:
            # Two turns that became one, on a machine that is far behind, have no delay of their own.
            is_known = turn.heard_text in engines_ms
            if not is_known or turn.voice_to_voice_ms is None or turn.speech_end_at_s is None:
                continue
            over_ms = turn.voice_to_voice_ms - END_SILENCE_MS - engines_ms[turn.heard_text]
            into = during if stalled_at_s <= turn.speech_end_at_s <= stalled_at_s + _STALL_S else before
            into.append(over_ms)
    buffered_s = [stall.buffered_ms / 1000 for stall in stalls]
    ends = {stall.ended_by for stall in stalls if stall.ended_by}
    return Figure(
        max(buffered_s),
        "s",
        len(stalls),
        (min(buffered_s), max(buffered_s)),
        f"reply audio that came at once when a client read again after {_STALL_S:g} s, with up to 0.3 s that the"
        f" gateway then sends ahead; the others' overhead p99 {_p99(during)} meanwhile,"
        f" {_p99(before)} otherwise" + (f"; streams ended by {', '.join(ends)}" if ends else ""),
    )


def _p99(values_ms: Sequence[float]) -> str:
    return f"{quantile(values_ms, 0.99):.0f} ms" if values_ms else "not known"
