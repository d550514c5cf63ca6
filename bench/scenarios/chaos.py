"""Services and the store are killed, frozen and cut off under live conversations: what people see, and for how long."""

import asyncio
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import Figure, count_figure, quantile_figure
from bench.outages import Outage, Suffered, Theatre, plan_outages, theatre
from bench.plan import Plan, PlanShape, Spread, engine_scripts, make_plan
from bench.records import TurnRecord
from bench.scenario import Bench, Findings, Plot
from bench.witness import Witness
from parley_client import Fault, Parley
from parley_servicekit.faults import FaultCode
from tests.support.redis_server import NoRedisError

TITLE = "Services killed, frozen and cut off under live conversations"
ORDER = 70

_SILENCE_MAX_S = 5.0
# The gateway's own deadline is 5 s from the decision; the client learns of both with a little delay of each.
_CLOCK_SLACK_S = 0.1
# Recognition may take 5 s to be called stalled, and 5 s for a final transcript.
_HEARD_MAX_S = 10.0
_SETTLE_S = 2.5
_MACHINE_TRACE_COUNT = 100_000
MACHINE_TEST = "tests/unit/gateway/turns/test_turn_taker_properties.py::test_random_traces_keep_every_promise"


@dataclass(frozen=True)
class Outcome:
    """What one outage did. recovery_s: from when it was over to the first good turn that was committed after that."""

    suffered: Suffered
    recovery_s: float | None
    told: Counter[str]
    failed_count: int


async def run(bench: Bench) -> Findings:
    """See the module's docstring."""
    round_count, spacing_s = (1, 4.6) if bench.is_short else (2, 16.0)
    outages = plan_outages(bench.seed, round_count, spacing_s, one_kind_each=bench.is_short)
    plan = make_plan(bench.seed, plan_shape(len(outages) * spacing_s))
    try:
        async with theatre(bench.folder, engine_scripts(plan.turns), bench.say) as stage:
            people = [Witness(stage.stack.gateway, session) for session in plan.sessions]
            suffered = await _live(bench, stage, people, plan, outages)
            await asyncio.sleep(_SETTLE_S)  # what waited for the store is brought in
            stored = await _stored_ids(stage.stack.gateway, people)
    except NoRedisError as error:
        return Findings({}, notes=(f"not measured: {error}",))
    trace_note = "" if bench.is_short else await _machine_traces(bench)
    return findings(people, suffered, stored, trace_note)


def plan_shape(length_s: float) -> PlanShape:
    """Ten people for so long; nobody speaks again before their reply would have been given up."""
    cycle_ms = 7520
    return PlanShape(
        session_count=10,
        # Somebody speaks until a little after the last outage.
        turn_count=math.ceil((length_s + 2) * 1000 / cycle_ms),
        cycle_ms=cycle_ms,
        reply_ms=1500,
        stagger_ms=cycle_ms,
        asr_final=Spread(20, 60),
        llm_first_token=Spread(80, 160),
        tts_first_audio=Spread(40, 80),
    )


async def _live(
    bench: Bench, stage: Theatre, people: Sequence[Witness], plan: Plan, outages: Sequence[Outage]
) -> list[Suffered]:
    began_at_s = time.monotonic()

    async def talk(person: Witness, open_at_ms: int) -> None:
        await asyncio.sleep(open_at_ms / 1000)
        await person.converse()

    async def suffer(suffered: list[Suffered]) -> None:
        for outage in outages:
            await asyncio.sleep(max(0.0, began_at_s + outage.at_s - time.monotonic()))
            suffered.append(await stage.suffer(outage))
            took_s = suffered[-1].over_at_s - suffered[-1].began_at_s
            bench.say(f"{outage.kind} {outage.target}: over after {took_s:.1f} s")

    suffered: list[Suffered] = []
    async with asyncio.TaskGroup() as tasks:
        for person, session in zip(people, plan.sessions, strict=True):
            tasks.create_task(talk(person, session.open_at_ms), name=f"person.{session.index}")
        tasks.create_task(suffer(suffered), name="chaos.outages")
    return suffered


async def _stored_ids(gateway: str, people: Sequence[Witness]) -> list[list[str] | None]:
    """Turn ids of what people said, as stored; None where the conversation cannot be read."""
    stored: list[list[str] | None] = []
    async with Parley(gateway) as parley:
        for person in people:
            try:
                found = await parley.get_conversation(person.record.conversation_id)
                stored.append([turn.turn_id for turn in found.turns if turn.speaker == 1])
            except Fault as fault:
                if fault.code not in (FaultCode.NOT_FOUND, FaultCode.UNAVAILABLE):
                    raise
                stored.append(None)
    return stored


async def _machine_traces(bench: Bench) -> str:
    """The other half of dead_air_count: random events, fed to the turn-taker by its own test."""
    bench.say(f"{_MACHINE_TRACE_COUNT} random traces of the turn-taker")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", MACHINE_TEST,
        env={**os.environ, "TURN_TRACES": str(_MACHINE_TRACE_COUNT)}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if await process.wait() != 0:
        raise RuntimeError(
            "a random trace of the turn-taker broke a promise: run its test with TURN_TRACES=100000"
        )
    return f"; and {_MACHINE_TRACE_COUNT} random traces of the turn-taker, none of which led to silence without end"


# What came of it.


def findings(
    people: Sequence[Witness],
    suffered: Sequence[Suffered],
    stored: Sequence[list[str] | None],
    trace_note: str,
) -> Findings:
    """The figures, from what people noted, what happened and what the store has."""
    dead, committed_count = dead_air(people)
    outcomes = [_outcome(each, people) for each in suffered]
    lost = [
        len(set(person.committed_ids) - set(ids or ())) for person, ids in zip(people, stored, strict=True)
    ]
    doubled = [len(ids) - len(set(ids)) for ids in stored if ids is not None]
    run_count = len(people) * len(suffered)
    figures: dict[str, Figure] = {
        "dead_air_count": count_figure(
            len(dead),
            committed_count,
            f"{run_count} live runs ({len(people)} people, {len(suffered)} outages: kill -9, SIGSTOP and partition of"
            f" asr, llm, tts and Redis): turns committed with neither reply audio nor an error within 5 s{trace_note}",
        ),
        "chaos_lost_turns": count_figure(
            sum(lost), committed_count, "committed turns that the history lacks afterwards"
        ),
        "chaos_doubled_turns": count_figure(
            sum(doubled), committed_count, "turns that the history has twice"
        ),
        "chaos_unheard_turns": count_figure(
            len(unheard(people)),
            sum(len(person.record.turns) for person in people),
            "spoken turns that were not committed within 10 s although the person was told of no failure",
        ),
        "chaos_broken_sessions": count_figure(
            sum(bool(person.record.ended_by or person.record.refusal) for person in people),
            len(people),
            "sessions that did not go on to their planned end",
        ),
        "chaos_harmed_elsewhere": count_figure(
            _harmed_elsewhere(people, outcomes), committed_count, "failed turns that no outage explains"
        ),
    }
    recoveries = [outcome.recovery_s for outcome in outcomes if outcome.recovery_s is not None]
    if recoveries:
        figures["chaos_recovery_p95_s"] = quantile_figure(
            recoveries,
            0.95,
            "s",
            "from when an outage is over (process ready again, let go, healed) to the first reply audio of a turn"
            " committed after that; somebody speaks every 0.75 s",
        )
    return Findings(figures, (outages_plot(outcomes),), tuple(_told_line(outcome) for outcome in outcomes))


def dead_air(people: Sequence[Witness]) -> tuple[list[TurnRecord], int]:
    """Committed turns that were followed by silence, and how many were committed."""
    dead, committed_count = [], 0
    for person in people:
        for turn in person.record.turns:
            if turn.committed_at_s is None:
                continue
            committed_count += 1
            until_s = turn.committed_at_s + _SILENCE_MAX_S + _CLOCK_SLACK_S
            is_heard = turn.first_audio_at_s is not None and turn.first_audio_at_s <= until_s
            is_told = any(
                each.is_of_turn and turn.committed_at_s <= each.at_s <= until_s for each in person.told
            )
            # A session that broke, or ended as planned, cannot tell any more.
            has_ended = person.record.ended_at_s is not None and person.record.ended_at_s <= until_s
            if not (is_heard or is_told or (has_ended and not person.record.ended_by)):
                dead.append(turn)
    return dead, committed_count


def unheard(people: Sequence[Witness]) -> list[TurnRecord]:
    """Turns that were spoken to their end and came to nothing, with nobody saying so."""
    return [
        turn
        for person in people
        for turn in person.record.turns
        if turn.speech_end_at_s is not None
        and (turn.committed_at_s is None or turn.committed_at_s > turn.speech_end_at_s + _HEARD_MAX_S)
        and not any(
            turn.onset_at_s <= each.at_s <= turn.speech_end_at_s + _HEARD_MAX_S for each in person.told
        )
    ]


def _outcome(suffered: Suffered, people: Sequence[Witness]) -> Outcome:
    good = [
        turn.first_audio_at_s
        for person in people
        for turn in person.record.turns
        if turn.committed_at_s is not None
        and turn.first_audio_at_s is not None
        and turn.committed_at_s >= suffered.over_at_s
    ]
    told = [each for person in people for each in person.told if _is_within(each.at_s, suffered)]
    failed = [
        turn
        for person in people
        for turn in person.record.turns
        if turn.outcome == "FAILED" and _is_within(turn.ended_at_s or 0.0, suffered)
    ]
    recovery_s = min(good) - suffered.over_at_s if good else None
    return Outcome(suffered, recovery_s, Counter(each.what for each in told), len(failed))


def _is_within(at_s: float, suffered: Suffered) -> bool:
    """Whether the outage explains what happened then: it shows up to the gateway's deadlines later."""
    return suffered.began_at_s <= at_s <= suffered.over_at_s + _SILENCE_MAX_S


def _harmed_elsewhere(people: Sequence[Witness], outcomes: Sequence[Outcome]) -> int:
    return sum(
        turn.outcome == "FAILED"
        and not any(_is_within(turn.ended_at_s or 0.0, each.suffered) for each in outcomes)
        for person in people
        for turn in person.record.turns
    )


def _told_line(outcome: Outcome) -> str:
    """A row of the table: fault and target, what people saw, seconds to recovery."""
    outage = outcome.suffered.outage
    seen = ", ".join(f"{count} × {what}" for what, count in sorted(outcome.told.items())) or "nothing"
    recovery = "none" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f} s"
    length_s = outcome.suffered.over_at_s - outcome.suffered.began_at_s
    return (
        f"{outage.kind} {outage.target} for {length_s:.1f} s: people were told {seen};"
        f" {outcome.failed_count} replies failed; next good turn after it: {recovery}"
    )


def outages_plot(outcomes: Sequence[Outcome]) -> Plot:
    """A row for each outage; one that no good turn followed says so."""
    rows = {}
    for number, each in enumerate(outcomes, start=1):
        suffered = each.suffered
        name = f"{number}. {suffered.outage.kind} {suffered.outage.target}"
        rows[name] = [("outage", suffered.over_at_s - suffered.began_at_s)]
        if each.recovery_s is None:
            rows[f"{name}\nno good turn after"] = rows.pop(name)
        else:
            rows[name].append(("until the next good turn", each.recovery_s))
    return Plot(
        "Outages, and how long until the next good turn",
        "bars",
        rows,
        x_label="seconds",
        caption="What people were told meanwhile stands in the notes.",
    )
