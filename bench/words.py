"""`words_of`: what a figure is, in words that a person understands. Used by the report's page and the terminal.

A figure with a goal has its words beside the goal; all others have them here. A test looks whether every figure that a
scenario can find has some.
"""

import re

from bench.figures import GOALS

_WORDS = {
    "round_trip_p50_ms": "an empty RPC between two processes and back, of which a turn has four, p50",
    "overload_turns_p95_ratio": "voice-to-voice with too few chat slots ÷ with enough, p95",
    "overload_turn_refusal_p95_ms": "time until a turn that gets no slot is told to have failed, p95",
    "scrape_p95_ratio": "voice-to-voice while metrics ports are flooded ÷ while not, p95",
    "scrape_failures": "requests to flooded metrics ports that were answered wrongly",
    "scrape_harmed_turns": "turns and sessions harmed while metrics ports are flooded",
    "soak_cpu_ratio": "gateway CPU per conversation, end of a long run ÷ its beginning",
    "soak_lag_ratio": "event-loop lag of the gateway, end of a long run ÷ its beginning",
    "soak_memory_slope_kib_per_minute": "memory gained in a long run, the worst process",
    "soak_descriptor_growth": "file descriptors gained in a long run, the worst process",
    "soak_failed_turns": "turns that failed in a long run",
    "chaos_lost_turns": "turns that the history lacks after outages",
    "chaos_doubled_turns": "turns that the history has twice after outages",
    "chaos_unheard_turns": "spoken turns that an outage swallowed unnoticed",
    "chaos_broken_sessions": "conversations that an outage ended",
    "chaos_harmed_elsewhere": "failed turns that no outage explains",
    "chaos_recovery_p95_s": "from the end of an outage to the next reply audio, p95",
    "tts_first_audio_added_p50_ms": "what the tts service adds to espeak-ng's first audio, p50",
    "parley_gateway_cpu_per_frame_us": "CPU per 20 ms frame of Parley's gateway alone",
}
_CONTENDERS = {
    "parley": "Parley",
    "pipecat": "Pipecat",
    "livekit_agents": "LiveKit Agents",
    "harness": "the harness alone",
}
_OF_CONTENDERS = {
    "turn_overhead_ratio": "what is added to a turn, Parley ÷ {who}, p50",
    "cpu_per_frame_ratio": "CPU per 20 ms frame, Parley's gateway ÷ {who}",
    "cpu_per_frame_all_ratio": "CPU per 20 ms frame, all of Parley ÷ {who}",
    "sessions_per_core_ratio": "sessions per core, Parley's gateway ÷ {who}",
    "turn_overhead_p50_ms": "what {who} adds to a turn, beside other libraries, p50",
    "turn_overhead_p95_ms": "what {who} adds to a turn, beside other libraries, p95",
    "cpu_per_frame_us": "CPU per 20 ms frame of {who}, beside other libraries",
    "sessions_per_core": "sessions per core of {who}, beside other libraries",
    "sessions_in_time": "sessions in time of {who}, beside other libraries",
}
_TUNED = "_tuned"
_OF_CONTENDER = re.compile(rf"({'|'.join(_CONTENDERS)})({_TUNED})?_({'|'.join(_OF_CONTENDERS)})")
_SHORT_GROWTH = re.compile(r"asr_cost_growth_(\d+)_minutes")


def words_of(name: str) -> str:
    """In words; empty where there are none."""
    if name in GOALS:
        return GOALS[name].says
    if found := _SHORT_GROWTH.fullmatch(name):
        return f"recognition CPU at the end of {found[1]} minutes ÷ at their beginning"
    if found := _OF_CONTENDER.fullmatch(name):
        return _OF_CONTENDERS[found[3]].format(who=contender_name(found[1] + (found[2] or "")))
    return _WORDS.get(name, "")


def contender_name(contender: str) -> str:
    """A library, or Parley, as people call it; contender: as ids of figures begin. KeyError for strangers."""
    return _CONTENDERS[contender.removesuffix(_TUNED)] + (" (tuned)" if contender.endswith(_TUNED) else "")
