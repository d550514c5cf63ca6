"""What every contender is given: the same speech, the same scripted engines, the same reply. Pure; no library of ours.

Peers run in environments of their own, so this module and its siblings need nothing but Python. A person sends a
20 ms frame every 20 ms, all the time. In each cycle they speak once; the last frame of what they say is labelled, so
that a scripted recogniser ends the turn exactly there. A scripted chat model waits, then writes its words at once, so
that nobody's choice of how much text to wait for is counted; a scripted voice waits, then gives the whole reply in
100 ms pieces, faster than it is played. The delays are those of Parley's own scripted engines, see `contest`.
"""

import json
from dataclasses import asdict, dataclass

SAMPLE_RATE_HZ = 16_000
FRAME_MS = 20
FRAME_BYTES = SAMPLE_RATE_HZ * FRAME_MS // 1000 * 2
REPLY_SAMPLE_RATE_HZ = 24_000
REPLY_CHUNK_MS = 100
LEAD_MS = 200
"""How far ahead of playing a peer's output takes audio, as LiveKit's room output does; Parley's gateway: 300 ms."""

SILENCE = bytes(FRAME_BYTES)
SPEECH = (b"\x00\x10" + b"\x00\xf0") * (FRAME_BYTES // 4)
LAST_OF_SPEECH = (b"\x00\x20" + b"\x00\xe0") * (FRAME_BYTES // 4)


@dataclass(frozen=True)
class ScriptedTurn:
    """What the engines do in one turn, and how long each takes, in milliseconds.

    transcript_ms: from the last labelled frame to the final transcript; model_ms: to the first word of the reply;
    voice_ms: from the first text to the first audio.
    """

    heard: str
    words: tuple[str, ...]
    transcript_ms: int
    model_ms: int
    voice_ms: int

    @property
    def engines_ms(self) -> int:
        """What the engines themselves take between speech and reply audio."""
        return self.transcript_ms + self.model_ms + self.voice_ms


@dataclass(frozen=True)
class Workload:
    """One kind of conversation, in milliseconds. Each session's n-th turn is the n-th of `turns`, over and over."""

    cycle_ms: int
    lead_in_ms: int
    speech_ms: int
    reply_ms: int
    turns: tuple[ScriptedTurn, ...]

    def frame(self, index: int) -> bytes:
        """The frame that a person sends at `index * 20 ms` of the conversation: silence, speech, or its last frame."""
        at_ms = index * FRAME_MS % self.cycle_ms
        speech_end_ms = self.lead_in_ms + self.speech_ms
        if not self.lead_in_ms <= at_ms < speech_end_ms:
            return SILENCE
        return LAST_OF_SPEECH if at_ms + FRAME_MS >= speech_end_ms else SPEECH

    def turn(self, number: int) -> ScriptedTurn:
        """The script of a session's turn number `number`, from 0."""
        return self.turns[number % len(self.turns)]


@dataclass(frozen=True)
class Plan:
    """All that one process of a peer does.

    turn_count: turns of one session alone, whose overhead is measured; the first is left out, it warms up. steps:
    numbers of sessions to hold, rising, each for `step_s` seconds; it stops when two in a row are late.
    has_tuned_settings: the library's best settings rather than its defaults. core: the CPU to stay on; None: any.
    """

    seed: int
    turn_count: int
    steps: tuple[int, ...]
    step_s: float
    workload: Workload
    has_tuned_settings: bool = False
    core: int | None = None

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def plan_from_json(text: str) -> Plan:
    """What `Plan.to_json` wrote. Raises ValueError, TypeError or KeyError for anything else."""
    fields = json.loads(text)
    workload = fields.pop("workload")
    turns = tuple(ScriptedTurn(**{**turn, "words": tuple(turn["words"])}) for turn in workload.pop("turns"))
    steps = tuple(fields.pop("steps"))
    return Plan(**fields, steps=steps, workload=Workload(**workload, turns=turns))
