"""The plans of a contest: what Parley's people and engines do, and the same for a library that runs in its own process.

Used by `bench.scenarios.peers`. Both come from one `bench.plan` with one seed: the same engine delays turn by turn,
the same pieces of text, replies equally long. In both, the chat model's words come at once.
"""

import os
from dataclasses import replace
from typing import Any

from bench.peers.workload import FRAME_MS, Plan, ScriptedTurn, Workload
from bench.plan import Plan as LoadPlan
from bench.plan import PlanShape, Spread, TurnScript, engine_scripts, make_plan

CYCLE_MS = 4800
LEAD_IN_MS = 480
SPEECH_MS = 1300
"""About as long as the recordings that Parley's people speak."""
REPLY_MS = 1500
ROUND_COUNT = 3
COMPARED_SESSION_COUNT = 10
"""The load at which costs are compared: every contender has been seen to hold it."""

_SHAPE = PlanShape(
    cycle_ms=CYCLE_MS,
    lead_in_ms=LEAD_IN_MS,
    reply_ms=REPLY_MS,
    asr_final=Spread(20, 20),
    llm_first_token=Spread(40, 120),
    tts_first_audio=Spread(40, 40),
)
SCRIPTED_TURN_COUNT = 32
_OUR_STEPS = (COMPARED_SESSION_COUNT, 20, 40, 60)
_OUR_SHORT_STEPS = (COMPARED_SESSION_COUNT, 20)
_PEER_STEPS = (COMPARED_SESSION_COUNT, 15, 20, 30, 40, 60, 80)
_PEER_SHORT_STEPS = (COMPARED_SESSION_COUNT, 20, 40)


def peer_plan(seed: int, is_short: bool, core: int | None) -> Plan:
    """What a library's process does; its defaults, on one core."""
    turns = make_plan(seed, replace(_SHAPE, turn_count=SCRIPTED_TURN_COUNT)).turns
    return Plan(
        seed=seed,
        turn_count=3 if is_short else 7,
        steps=_PEER_SHORT_STEPS if is_short else _PEER_STEPS,
        step_s=6.0 if is_short else 8.0,
        workload=Workload(
            cycle_ms=CYCLE_MS,
            lead_in_ms=LEAD_IN_MS,
            speech_ms=SPEECH_MS,
            reply_ms=REPLY_MS,
            turns=tuple(_scripted(turn) for turn in turns),
        ),
        core=core,
    )


def our_steps(is_short: bool) -> tuple[int, ...]:
    """Numbers of sessions that Parley is given. It stops when two in a row are late."""
    return _OUR_SHORT_STEPS if is_short else _OUR_STEPS


def our_load(seed: int, session_count: int, turn_count: int) -> LoadPlan:
    """Parley's people. They open within one cycle, so that they do not speak in step."""
    stagger_ms = CYCLE_MS if session_count > 1 else 0
    shape = replace(_SHAPE, session_count=session_count, turn_count=turn_count, stagger_ms=stagger_ms)
    return make_plan(seed, shape)


def our_scripts(turns: tuple[TurnScript, ...]) -> dict[str, dict[str, Any]]:
    """Scripts of Parley's engines, the chat model's words all at once."""
    scripts = engine_scripts(turns)
    for answer in scripts["llm"]["answers"]:
        answer["delta_ms"] = 0
    return scripts


def first_core() -> int | None:
    """The CPU that a contender is held on; None where this system does not say."""
    return min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def other_cores() -> set[int] | None:
    """The CPUs for people and engines beside a gateway on `first_core`; None where there is only one."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return os.sched_getaffinity(0) - {min(os.sched_getaffinity(0))} or None


def frames_in(seconds: float, session_count: int) -> float:
    """Frames that so many people send in that time."""
    return seconds * 1000 / FRAME_MS * session_count


def _scripted(turn: TurnScript) -> ScriptedTurn:
    rest = tuple(f"{word} " for word in turn.rest.split())
    return ScriptedTurn(
        heard=turn.heard,
        words=(turn.first_phrase, *rest),
        transcript_ms=turn.asr_final_ms,
        model_ms=turn.llm_first_token_ms,
        voice_ms=turn.tts_first_audio_ms,
    )
