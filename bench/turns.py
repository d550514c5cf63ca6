"""What Parley itself added to turns whose engine delays are known. Used by scenarios that talk to scripted engines."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.plan import END_SILENCE_MS, Plan, TurnScript
from bench.records import SessionRecord, TurnRecord

STAGES = ("endpointing", "asr_final", "llm_first_token", "tts_first_audio", "playback_first_audio")


@dataclass(frozen=True, slots=True)
class MeasuredTurn:
    """A turn that was answered. overhead_ms: its voice-to-voice less the end silence and the engines' own delays."""

    turn: TurnRecord
    script: TurnScript
    voice_to_voice_ms: float

    @property
    def overhead_ms(self) -> float:
        """What is left."""
        return self.voice_to_voice_ms - END_SILENCE_MS - self.script.engines_ms

    @property
    def stage_sum_ms(self) -> float:
        """The gateway's own account of the turn."""
        return sum(self.turn.stages_ms.values())

    def scripted_ms(self) -> dict[str, float]:
        """What the script makes of each stage."""
        waits = (
            END_SILENCE_MS,
            self.script.asr_final_ms,
            self.script.llm_first_token_ms,
            self.script.tts_first_audio_ms,
            0,
        )
        return dict(zip(STAGES, waits, strict=True))


def measured_turns(plan: Plan, records: Iterable[SessionRecord]) -> Iterator[MeasuredTurn]:
    """The turns that were answered aloud and to their end."""
    scripts = {script.heard: script for script in plan.turns}
    for record in records:
        for turn in record.turns:
            script = scripts.get(turn.heard_text)
            voice_to_voice_ms = turn.voice_to_voice_ms
            if script is not None and voice_to_voice_ms is not None and turn.outcome == "COMPLETED":
                yield MeasuredTurn(turn, script, voice_to_voice_ms)


def planned_turn_count(plan: Plan) -> int:
    """How many turns are to be spoken."""
    return sum(len(session.spoken) for session in plan.sessions)
