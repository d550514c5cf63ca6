"""`Figure` and the goals, as `report.json` has them. Made by scenarios; judged and written by `bench.report`.

Quantiles are nearest-rank. The spread of a quantile is a bootstrap interval (90 %, 200 resamples, fixed seed): how far
the figure itself would move had other turns been measured; it knows nothing of what else the machine was doing.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Comparison = Literal["<=", ">=", "=="]
_RESAMPLE_COUNT = 200
_RESAMPLED_MAX_COUNT = 2000


@dataclass(frozen=True)
class Goal:
    """What a figure is judged by. aim: in `unit`; says: what the figure is, in a few words."""

    unit: str
    comparison: Comparison
    aim: float
    says: str

    def is_met_by(self, value: float) -> bool:
        """Whether value is good enough."""
        if self.comparison == "<=":
            return value <= self.aim
        return value >= self.aim if self.comparison == ">=" else value == self.aim

    def __str__(self) -> str:
        return f"{self.comparison} {self.aim:g}"


GOALS: dict[str, Goal] = {
    "voice_to_voice_overhead_p95_ms": Goal("ms", "<=", 20, "what Parley adds to a turn, one session, p95"),
    "gateway_overhead_p50_ms": Goal("ms", "<=", 5, "what Parley adds to a turn, 20 live sessions, p50"),
    "gateway_overhead_p95_ms": Goal("ms", "<=", 20, "what Parley adds to a turn, 20 live sessions, p95"),
    "gateway_overhead_100_p50_ms": Goal("ms", "<=", 5, "what Parley adds to a turn, 100 live sessions, p50"),
    "gateway_overhead_100_p95_ms": Goal("ms", "<=", 20, "what Parley adds to a turn, 100 live sessions, p95"),
    "sessions_per_core": Goal("sessions", ">=", 100, "live sessions per core of gateway CPU"),
    "sessions_in_time": Goal("sessions", ">=", 100, "sessions with reply audio in time"),
    "asr_streams_vs_cpp": Goal("ratio", ">=", 1.0, "recognition streams held ÷ sherpa-onnx's C++ server"),
    "asr_cpu_vs_cpp": Goal("ratio", "<=", 1.1, "recognition CPU ÷ sherpa-onnx's C++ server"),
    "asr_partial_p99_vs_cpp": Goal(
        "ratio", "<=", 1.5, "delay of partial transcripts ÷ sherpa-onnx's C++ server"
    ),
    "asr_cost_growth": Goal("ratio", "<=", 1.05, "recognition CPU after an hour ÷ in the first minutes"),
    "llm_cpu_per_token_vs_ollama_client": Goal(
        "ratio", "<=", 1.5, "CPU per token of a chat model ÷ the ollama package"
    ),
    "llm_first_token_added_p50_ms": Goal("ms", "<=", 2, "what the llm service adds to the first token"),
    "tts_first_audio_vs_direct": Goal(
        "ratio", "<=", 1.05, "first audio through the tts service ÷ engine called directly"
    ),
    "tts_first_audio_vs_sentence": Goal(
        "ratio", "<=", 0.6, "first audio of a reply in writing ÷ waiting for whole sentences"
    ),
    "eager_gain": Goal("ratio", "<=", 0.75, "voice-to-voice with eager replies ÷ without"),
    "eager_token_ratio": Goal("ratio", "<=", 1.4, "tokens with eager replies ÷ without"),
    "eager_leaks": Goal("count", "==", 0, "speculative text that reached anybody"),
    "bargein_stop_p95_ms": Goal("ms", "<=", 200, "from an interruption's onset to silence, p95"),
    "bargein_upstream_cancel_p95_ms": Goal("ms", "<=", 50, "from the decision to the engines' cancel, p95"),
    "bargein_false_rate": Goal("ratio", "<=", 0.05, "noises and nods taken for interruptions"),
    "bargein_missed_rate": Goal("ratio", "<=", 0.02, "interruptions that were missed"),
    "heard_text_median_error_chars": Goal(
        "chars", "<=", 3, "remembered text of a cut reply against what was played"
    ),
    "heard_text_unheard_phrases": Goal("count", "==", 0, "phrases in history that nobody heard"),
    "dead_air_count": Goal("count", "==", 0, "turns answered with nothing, not even an error"),
    "resume_p95_s": Goal("s", "<=", 2, "from a killed gateway to going on, p95"),
    "resume_lost_turns": Goal("count", "==", 0, "turns lost by a killed gateway"),
    "resume_doubled_turns": Goal("count", "==", 0, "turns doubled by a killed gateway"),
    "overload_p95_ratio": Goal(
        "ratio", "<=", 1.1, "voice-to-voice of those let in at 3 × capacity ÷ at 1 ×, p95"
    ),
    "overload_refusal_p95_ms": Goal("ms", "<=", 100, "time until a session is refused at 3 × capacity, p95"),
    "fairness_jain_sessions": Goal("ratio", ">=", 0.95, "fairness beside a session that reads a novel"),
    "fairness_jain_keys": Goal("ratio", ">=", 0.95, "fairness across keys at 2 × capacity"),
    "drain_lost_turns": Goal("count", "==", 0, "turns lost by a rolling restart"),
    "stalled_client_buffer_s": Goal("s", "<=", 1, "audio buffered for a client that stops reading"),
    "start_ready_s": Goal("s", "<=", 5, "parley up until all is ready"),
    "demo_fresh_s": Goal("s", "<=", 120, "make demo on a fresh clone"),
    "memory_idle_session_kib": Goal("KiB", "<=", 200, "gateway memory of an idle session"),
    "stage_sum_error_p99_ms": Goal("ms", "<=", 10, "the five stages against the client's own clock, p99"),
    "turn_visible_p99_s": Goal("s", "<=", 5, "turn end until visible in Prometheus, p99"),
    "fuzz_inputs": Goal("count", ">=", 100_000, "hostile inputs tried, each surface"),
    "fuzz_failures": Goal("count", "==", 0, "hostile inputs that did harm"),
    "web_added_delay_ms": Goal("ms", "<=", 60, "what the web client adds in the browser"),
}
"""The figures that Parley is judged by, in the order in which they are shown. Others may be measured beside them."""


@dataclass(frozen=True)
class Figure:
    """One measured value. n: of how many measurements; spread: lowest and highest plausible value; how: a sentence."""

    value: float
    unit: str
    n: int
    spread: tuple[float, float]
    how: str


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest-rank quantile; share in (0, 1]. ValueError where there are no values."""
    if not values:
        raise ValueError("no values to take a quantile of")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def quantile_spread(values: Sequence[float], share: float) -> tuple[float, float]:
    """Bootstrap interval of a quantile; see the module's docstring."""
    chance = random.Random(len(values))
    count = min(len(values), _RESAMPLED_MAX_COUNT)
    resampled = sorted(quantile(chance.choices(values, k=count), share) for _ in range(_RESAMPLE_COUNT))
    return resampled[round(0.05 * (_RESAMPLE_COUNT - 1))], resampled[round(0.95 * (_RESAMPLE_COUNT - 1))]


def quantile_figure(values: Sequence[float], share: float, unit: str, how: str) -> Figure:
    """A quantile of single measurements. ValueError where there are none."""
    return Figure(quantile(values, share), unit, len(values), quantile_spread(values, share), how)


def median_figure(rounds: Sequence[float], unit: str, how: str) -> Figure:
    """The median of rounds, with the lowest and the highest as spread. ValueError where there are none."""
    if not rounds:
        raise ValueError("no rounds to take the median of")
    middle = len(rounds) // 2
    ordered = sorted(rounds)
    median = ordered[middle] if len(rounds) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return Figure(median, unit, len(rounds), (ordered[0], ordered[-1]), how)


def count_figure(count: int, n: int, how: str) -> Figure:
    """Something that was counted, of n chances to happen."""
    return Figure(float(count), "count", n, (float(count), float(count)), how)
