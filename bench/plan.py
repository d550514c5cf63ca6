"""`Plan`: who speaks what when, and how slow the scripted engines are. Made from a seed; the same seed, the same plan.

Scenarios make one with `make_plan`, hand `engine_scripts(plan.turns)` to `bench.stack` and the plan to `bench.load` or
`bench.person`. The n-th turn of every session meets the same script (after 200 they come again),
so each turn's engine delays are known exactly.

Speech ends on a boundary of both the client's 20 ms frames and the detector's 32 ms windows, and the end silence is a
multiple of both, so that neither adds to what is measured; `anywhere_share` of the sessions speak without regard to it.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.speech import CLIP_NAMES, FRAME_MS, FRAME_SAMPLE_COUNT, GRID_FRAME_COUNT, clip_sample_count

END_SILENCE_MS = 640
"""20 windows of 32 ms, 32 frames of 20 ms."""
_GRID_SAMPLE_COUNT = GRID_FRAME_COUNT * FRAME_SAMPLE_COUNT
_SCRIPT_MAX_COUNT = 200
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_MS_PER_CHARACTER = 30
_FILLER = "and on it goes, "


@dataclass(frozen=True, slots=True)
class Spread:
    """Delays between two values in milliseconds, evenly; the same twice = always that."""

    low_ms: int
    high_ms: int


@dataclass(frozen=True, slots=True)
class PlanShape:
    """What a plan is like.

    turn_count: turns of each session, one every cycle_ms (a multiple of 160); the first one begins after lead_in_ms.
    reply_ms: how long a reply's audio plays, about. stagger_ms: sessions open, one after the other, within this time.
    """

    session_count: int = 1
    turn_count: int = 5
    cycle_ms: int = 4000
    lead_in_ms: int = 480
    reply_ms: int = 750
    stagger_ms: int = 0
    anywhere_share: float = 0.0
    asr_final: Spread = Spread(20, 80)
    llm_first_token: Spread = Spread(80, 320)
    tts_first_audio: Spread = Spread(40, 160)


@dataclass(frozen=True, slots=True)
class TurnScript:
    """What the engines do in one turn: what is heard and answered, and the delays of the critical path."""

    heard: str
    first_phrase: str
    rest: str
    asr_final_ms: int
    llm_first_token_ms: int
    tts_first_audio_ms: int

    @property
    def engines_ms(self) -> int:
        """What the engines add to voice-to-voice."""
        return self.asr_final_ms + self.llm_first_token_ms + self.tts_first_audio_ms


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """A person speaks a clip, shift_samples after the beginning of the session's start_frame."""

    clip: str
    start_frame: int
    shift_samples: int

    @property
    def onset_sample(self) -> int:
        """First sample of speech, from the session's first one."""
        return self.start_frame * FRAME_SAMPLE_COUNT + self.shift_samples

    @property
    def offset_sample(self) -> int:
        """One past the last sample of speech."""
        return self.onset_sample + clip_sample_count(self.clip)


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """One person: opens a session open_at_ms after the load begins, sends frame_count frames, and leaves."""

    index: int
    open_at_ms: int
    frame_count: int
    spoken: tuple[SpokenTurn, ...]
    ends_anywhere: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it."""

    seed: int
    turns: tuple[TurnScript, ...]
    sessions: tuple[SessionPlan, ...]

    def to_json(self) -> dict[str, Any]:
        """For another process; see `plan_from_json`."""
        return asdict(self)

    def part(self, index: int, count: int) -> "Plan":
        """The index-th of `count` shares of the sessions, for processes that share the work."""
        return replace(self, sessions=self.sessions[index::count])


def plan_from_json(read: dict[str, Any]) -> Plan:
    """What `Plan.to_json` wrote."""
    sessions = tuple(
        SessionPlan(**{**each, "spoken": tuple(SpokenTurn(**turn) for turn in each["spoken"])})
        for each in read["sessions"]
    )
    return Plan(read["seed"], tuple(TurnScript(**each) for each in read["turns"]), sessions)


def make_plan(seed: int, shape: PlanShape) -> Plan:
    """The plan of that shape for a seed. ValueError where a cycle is no multiple of 160 ms."""
    if shape.cycle_ms % (GRID_FRAME_COUNT * FRAME_MS) or shape.lead_in_ms % (GRID_FRAME_COUNT * FRAME_MS):
        raise ValueError(f"cycle_ms and lead_in_ms are multiples of {GRID_FRAME_COUNT * FRAME_MS}")
    # A generator for each part: changing the number of sessions does not change what the engines do.
    turns = _turn_scripts(random.Random(f"{seed} engines"), shape)
    sessions = tuple(
        _session(random.Random(f"{seed} session {index}"), index, shape)
        for index in range(shape.session_count)
    )
    return Plan(seed, turns, sessions)


def _turn_scripts(chance: random.Random, shape: PlanShape) -> tuple[TurnScript, ...]:
    return tuple(
        TurnScript(
            heard=f"question {_spelled(index)}",
            first_phrase=f"Answer {_spelled(index)}. ",
            rest=_filled(shape.reply_ms // _MS_PER_CHARACTER - len(f"Answer {_spelled(index)}. ")),
            asr_final_ms=_drawn(chance, shape.asr_final),
            llm_first_token_ms=_drawn(chance, shape.llm_first_token),
            tts_first_audio_ms=_drawn(chance, shape.tts_first_audio),
        )
        for index in range(min(shape.turn_count, _SCRIPT_MAX_COUNT))
    )


def _session(chance: random.Random, index: int, shape: PlanShape) -> SessionPlan:
    ends_anywhere = (index + 1) * shape.anywhere_share % 1.0 < shape.anywhere_share
    cycle_frames, lead_in_frames = shape.cycle_ms // FRAME_MS, shape.lead_in_ms // FRAME_MS
    spoken = []
    for turn in range(shape.turn_count):
        clip = chance.choice(CLIP_NAMES)
        shift = -clip_sample_count(clip) % _GRID_SAMPLE_COUNT
        if ends_anywhere:
            shift += chance.randrange(_GRID_SAMPLE_COUNT)
        spoken.append(SpokenTurn(clip, lead_in_frames + turn * cycle_frames, shift))
    share = index / shape.session_count
    # Not on a grid of 20 ms: people do not send their frames all at the same moment.
    open_at_ms = round(share * shape.stagger_ms) + chance.randrange(FRAME_MS)
    frame_count = lead_in_frames + shape.turn_count * cycle_frames
    return SessionPlan(index, open_at_ms, frame_count, tuple(spoken), ends_anywhere)


def engine_scripts(turns: Sequence[TurnScript]) -> dict[str, dict[str, Any]]:
    """Scripts of the scripted engines by service, as their files hold them; scenarios may add faults to them."""
    return {
        "asr": {"utterances": [{"text": turn.heard, "finish_ms": turn.asr_final_ms} for turn in turns]},
        "llm": {
            "context_token_count": 1_000_000,
            "answers": [
                {
                    "when_asked": turn.heard,
                    "deltas": [turn.first_phrase, *_words(turn.rest)],
                    "first_delta_ms": turn.llm_first_token_ms,
                    "delta_ms": 20,
                }
                for turn in turns
            ],
        },
        "tts": {
            "ms_per_character": _MS_PER_CHARACTER,
            "phrases": [
                {"when_spoken": turn.first_phrase.strip(), "first_audio_delay_ms": turn.tts_first_audio_ms}
                for turn in turns
            ],
        },
    }


def _drawn(chance: random.Random, spread: Spread) -> int:
    return chance.randint(spread.low_ms, spread.high_ms)


def _spelled(index: int) -> str:
    """Three words, none of which is part of another number's: the engines look for them in what they are told."""
    return " ".join(_DIGITS[int(digit)] for digit in f"{index:03d}")


def _filled(char_count: int) -> str:
    return (_FILLER * (max(0, char_count) // len(_FILLER) + 1))[: max(0, char_count)].rstrip(" ,")


def _words(text: str) -> list[str]:
    return [f"{word} " for word in text.split()]
