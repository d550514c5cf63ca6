"""Three times as many people as there is room for: what those inside notice of it, and how soon the rest know.

The engines are scripted and their slots are the capacity. First the gateway's sessions are limited to what the slots
hold. In the full form also the other way round: everybody gets in, and the chat model's slots are too few.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import Figure, quantile, quantile_figure, quantile_spread
from bench.load import run_load, running_load
from bench.person import Person
from bench.plan import Plan, PlanShape, SessionPlan, Spread, engine_scripts, make_plan
from bench.records import Refusal, SessionRecord
from bench.scenario import Bench, Findings, Plot
from bench.stack import Stack, running_stack

TITLE = "Three times as many people as there is room for"
ORDER = 45

_CAPACITY = 10
_TIMES = 3
_RETRY_MS = 1000  # of people who get no hint
_SLOTS = 2
"""Of the chat model, in the second part: enough for _SLOT_SESSIONS people, of whose time a slot takes a tenth."""
_SLOT_SESSIONS = 20


@dataclass(frozen=True)
class _Crowd:
    """What those inside measured, and how the others were turned away."""

    voice_to_voice_ms: list[float]
    refusals: list[Refusal]


async def run(bench: Bench) -> Findings:
    """See the module's docstring."""
    parts = [await _refused_sessions(bench)]
    if bench.is_short:
        parts.append(
            Findings(
                {},
                notes=(
                    "Not measured in the short form: too few chat slots behind a gateway that lets everybody in.",
                ),
            )
        )
    else:
        parts.append(await _refused_turns(bench))
    return Findings(
        {name: figure for part in parts for name, figure in part.figures.items()},
        tuple(plot for part in parts for plot in part.plots),
        tuple(note for part in parts for note in part.notes),
    )


def plan_shape(session_count: int, *, is_short: bool) -> PlanShape:
    """Turns of 4 s; in each the chat model writes for about 0.4 s."""
    return PlanShape(
        session_count,
        turn_count=2 if is_short else 15,
        cycle_ms=4000,
        reply_ms=900,
        stagger_ms=2000 if is_short else 4000,
        asr_final=Spread(20, 60),
        llm_first_token=Spread(80, 160),
        tts_first_audio=Spread(40, 80),
    )


# Sessions as many as slots.


async def _refused_sessions(bench: Bench) -> Findings:
    plan = make_plan(bench.seed, plan_shape(_CAPACITY, is_short=bench.is_short))
    room = {
        "PARLEY_GATEWAY_SESSION_MAX_COUNT": str(_CAPACITY),
        "PARLEY_ASR_MAX_STREAMS": str(_CAPACITY),
        "PARLEY_LLM_PARALLEL_COUNT": str(_CAPACITY),
        "PARLEY_TTS_MAX_STREAMS": str(_CAPACITY),
    }
    async with running_stack(bench.folder, engine_scripts(plan.turns), room) as stack:
        bench.say(f"{_CAPACITY} people, room for {_CAPACITY}")
        alone = voice_to_voice_ms(await run_load(bench.folder, stack.gateway, plan))
        bench.say(
            f"{_CAPACITY} inside, {(_TIMES - 1) * _CAPACITY} more who knock again whenever they are told to"
        )
        crowd = await _crowded(bench, stack, plan)
    unhinted_count = sum(refusal.retry_after_ms is None for refusal in crowd.refusals)
    wrong = {refusal.reason for refusal in crowd.refusals} - {"AT_CAPACITY"}
    figures = {
        "overload_p95_ratio": ratio_figure(
            crowd.voice_to_voice_ms,
            alone,
            f"voice-to-voice of the {_CAPACITY} who are inside while {(_TIMES - 1) * _CAPACITY} others knock, each at"
            " the pace of its retry hint ÷ while nobody knocks; gateway sessions = scripted slots",
        ),
        "overload_refusal_p95_ms": quantile_figure(
            [refusal.after_ms for refusal in crowd.refusals],
            0.95,
            "ms",
            "from opening a connection of its own to the refusal;"
            f" {len(crowd.refusals) - unhinted_count} of {len(crowd.refusals)} came with a retry hint",
        ),
    }
    plot = Plot(
        "People who are inside",
        "cdf",
        {"nobody knocks": alone, f"{(_TIMES - 1) * _CAPACITY} others knock": crowd.voice_to_voice_ms},
        x_label="voice to voice, ms",
    )
    notes = (f"sessions were also refused for {', '.join(sorted(wrong))}",) if wrong else ()
    return Findings(figures, (plot,), notes)


async def _crowded(bench: Bench, stack: Stack, plan: Plan) -> _Crowd:
    refusals: list[Refusal] = []
    async with running_load(bench.folder, stack.gateway, plan) as load:
        await load.settled()
        async with asyncio.TaskGroup() as tasks:
            knocking = [
                tasks.create_task(_knock(stack.gateway, index, refusals), name=f"knock.{index}")
                for index in range((_TIMES - 1) * _CAPACITY)
            ]
            # Nobody leaves before the first of those inside has said all: places do not become free.
            await asyncio.sleep(max(0.0, load.length_s - plan.sessions[-1].open_at_ms / 1000 - 0.5))
            for task in knocking:
                task.cancel()
        return _Crowd(voice_to_voice_ms(await load.records()), refusals)


async def _knock(target: str, index: int, refusals: list[Refusal]) -> None:
    """Try to get in, again and again, each time when the refusal says so. People do not come all at one moment."""
    await asyncio.sleep(_RETRY_MS / 1000 * index / ((_TIMES - 1) * _CAPACITY))
    while True:
        record = await Person(target, SessionPlan(index, 0, 0, (), ends_anywhere=False)).converse()
        retry_ms = _RETRY_MS
        if record.refusal is not None:
            refusals.append(record.refusal)
            retry_ms = record.refusal.retry_after_ms or _RETRY_MS
        await asyncio.sleep(retry_ms / 1000)


# Sessions without end, slots too few.


async def _refused_turns(bench: Bench) -> Findings:
    plan = make_plan(bench.seed, plan_shape(_TIMES * _SLOT_SESSIONS, is_short=bench.is_short))
    few = Plan(plan.seed, plan.turns, plan.sessions[::_TIMES])
    room = {"PARLEY_LLM_PARALLEL_COUNT": str(_SLOTS), "PARLEY_LLM_QUEUE_MAX_COUNT": "16"}
    async with running_stack(bench.folder, engine_scripts(plan.turns), room) as stack:
        bench.say(f"{len(few.sessions)} people and {_SLOTS} slots of the chat model")
        alone = await run_load(bench.folder, stack.gateway, few)
        bench.say(f"{len(plan.sessions)} people and {_SLOTS} slots of the chat model")
        crowd = await run_load(bench.folder, stack.gateway, plan)
    asked = [turn for record in crowd for turn in record.turns if turn.committed_at_s is not None]
    answered = [turn for turn in asked if turn.first_audio_at_s is not None]
    failed_ms = [
        (turn.ended_at_s - turn.committed_at_s) * 1000
        for turn in asked
        if turn.outcome == "FAILED" and turn.ended_at_s is not None and turn.committed_at_s is not None
    ]
    reasons = sorted({reason for record in crowd for reason in record.errors})
    figures = {
        "overload_turns_p95_ratio": ratio_figure(
            voice_to_voice_ms(crowd),
            voice_to_voice_ms(alone),
            f"as overload_p95_ratio, but {len(plan.sessions)} against {len(few.sessions)} people are all let in and the"
            f" chat model has {_SLOTS} slots: turns that were answered ({len(answered)} of {len(asked)})",
        )
    }
    if failed_ms:
        figures["overload_turn_refusal_p95_ms"] = quantile_figure(
            failed_ms,
            0.95,
            "ms",
            f"the same: turn committed → its failure is told, with {', '.join(reasons)}",
        )
    return Findings(figures, (_turns_plot(alone, crowd),))


def _turns_plot(alone: Sequence[SessionRecord], crowd: Sequence[SessionRecord]) -> Plot:
    return Plot(
        "Too few slots behind a gateway that lets everybody in",
        "cdf",
        {f"{len(alone)} people": voice_to_voice_ms(alone), f"{len(crowd)} people": voice_to_voice_ms(crowd)},
        x_label="voice to voice of answered turns, ms",
        caption="Who is let in waits for a slot: limit the gateway's sessions to what the slots hold.",
    )


def voice_to_voice_ms(records: Sequence[SessionRecord]) -> list[float]:
    """Of every turn that was answered."""
    return [
        turn.voice_to_voice_ms
        for record in records
        for turn in record.turns
        if turn.voice_to_voice_ms is not None
    ]


def ratio_figure(crowded_ms: Sequence[float], alone_ms: Sequence[float], how: str) -> Figure:
    """p95 ÷ p95, with both in the sentence."""
    crowded, alone = quantile(crowded_ms, 0.95), quantile(alone_ms, 0.95)
    low, high = quantile_spread(crowded_ms, 0.95)
    told = f"{how}; p95 {crowded:.0f} ms ÷ {alone:.0f} ms"
    return Figure(crowded / alone, "ratio", len(crowded_ms), (low / alone, high / alone), told)
