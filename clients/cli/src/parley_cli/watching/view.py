"""`View`: what `parley top` shows, made from the histories of the processes. Pure: no clock, no drawing.

None means that a process does not tell it: it is down, or of a version without that metric. `--json` prints a `View`
as it is, so its field names are a contract with scripts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from parley_cli.watching.histograms import Histogram
from parley_cli.watching.history import History
from parley_cli.watching.samples import Samples

PROCESSES = ("gateway", "asr", "llm", "tts")
# The names of the five stages in metrics, spans and budget, in the order in which they follow each other.
STAGES = ("endpointing", "asr.final", "llm.first_token", "tts.first_audio", "playback.first_audio")
# What is busy, of how many, and what waits, by process.
_BUSY = {
    "gateway": "sessions",
    "asr": "streams",
    "llm": "answers_running",
    "tts": "streams_running",
}
_SLOTS = {
    "gateway": "session_slots",
    "asr": "stream_slots",
    "llm": "answer_slots",
    "tts": "stream_slots",
}
# Whole files have slots of their own; conversations are streams.
_ROOM_LABELS = {"asr": {"method": "StreamingRecognize"}}
_QUEUED = {"asr": "decode_queue_streams", "llm": "requests_queued", "tts": "requests_queued"}
_WAIT = {"asr": "decode_wait_seconds", "llm": "queue_wait_seconds", "tts": "queue_wait_seconds"}


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One process. problem: None, or why its metrics could not be had, for people."""

    name: str
    address: str
    problem: str | None
    version: str | None
    uptime_s: float | None
    is_engine_available: bool | None
    cpu_percent: float | None
    memory_bytes: float | None
    loop_lag_p95_ms: float | None
    busy_count: float | None
    slot_count: float | None
    queued_count: float | None
    wait_p95_ms: float | None
    real_time_factor_p50: float | None
    tokens_per_second_p50: float | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Things by label; None where the process does not count them."""

    last_minute: dict[str, float] | None
    since_start: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class StageView:
    """One of the five segments. The means of all five sum to the mean of voice to voice."""

    stage: str
    mean_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class LatencyView:
    """From the last word to the first sound of the answer, over `turn_count` spoken turns."""

    turn_count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    stages: tuple[StageView, ...]


@dataclass(frozen=True, slots=True)
class View:
    """Everything. window_s: how much of the last minute the figures of the last minute cover; 0 in a first scrape."""

    window_s: float
    processes: tuple[ProcessView, ...]
    session_count: float | None
    session_slot_count: float | None
    is_draining: bool | None
    refused_sessions: Counts
    turns: Counts
    replies: Counts
    barge_ins: Counts
    errors: Counts
    underruns: Counts
    heard_ratio_mean: float | None
    latency_last_minute: LatencyView | None
    latency_since_start: LatencyView | None
    upstreams: dict[str, bool] | None
    is_store_degraded: bool | None
    store_queued_event_count: float | None
    store_append_p95_ms: float | None

    @property
    def has_window(self) -> bool:
        """Whether there are figures of the last minute: two scrapes at least."""
        return self.window_s > 0

    @property
    def is_well(self) -> bool:
        """Whether all processes were reached."""
        return all(process.problem is None for process in self.processes)


def build_view(histories: Mapping[str, History], addresses: Mapping[str, str], unix_time_s: float) -> View:
    """The view of the processes in `histories`, whose metrics are at `addresses`. The gateway may be missing."""
    gateway = histories.get("gateway", History())
    now = gateway.latest if gateway.problem is None else Samples()
    upstreams = now.by("parley_gateway_upstream_up", "service")
    ratio = _recent(gateway, now, "parley_gateway_heard_ratio")
    return View(
        window_s=round(max((history.window_s for history in histories.values()), default=0.0), 1),
        processes=tuple(
            _process(name, addresses[name], history, unix_time_s) for name, history in histories.items()
        ),
        session_count=now.value("parley_gateway_sessions"),
        session_slot_count=now.value("parley_gateway_session_slots"),
        is_draining=_truth(now.value("parley_gateway_is_draining")),
        refused_sessions=_counts(gateway, now, "parley_gateway_refused_sessions_total", ""),
        turns=_counts(gateway, now, "parley_gateway_turns_total", "outcome"),
        replies=_counts(gateway, now, "parley_gateway_replies_total", "outcome"),
        barge_ins=_counts(gateway, now, "parley_gateway_barge_ins_total", "cause"),
        errors=_counts(gateway, now, "parley_gateway_errors_total", "reason"),
        underruns=_counts(gateway, now, "parley_gateway_playback_underruns_total", ""),
        heard_ratio_mean=None if ratio is None else ratio.mean,
        latency_last_minute=_latency(now, gateway.minute_ago) if gateway.minute_ago else None,
        latency_since_start=_latency(now, None),
        upstreams=None if upstreams is None else {name: bool(up) for name, up in upstreams.items()},
        is_store_degraded=_truth(now.value("parley_gateway_store_degraded")),
        store_queued_event_count=now.value("parley_gateway_store_queued_events"),
        store_append_p95_ms=_quantile_ms(_recent(gateway, now, "parley_gateway_store_append_seconds"), 0.95),
    )


def _process(name: str, address: str, history: History, unix_time_s: float) -> ProcessView:
    now = history.latest if history.problem is None else Samples()
    kind = f"parley_{name}"
    began_at_s = now.value("process_start_time_seconds")
    wait = _WAIT.get(name)
    factor = _recent(history, now, f"{kind}_real_time_factor_ratio")
    rate = _recent(history, now, f"{kind}_tokens_per_second")
    lag = _recent(history, now, f"{kind}_event_loop_lag_seconds")
    return ProcessView(
        name=name,
        address=address,
        problem=history.problem,
        version=now.label(f"{kind}_build_info", "version"),
        uptime_s=None if began_at_s is None else max(0.0, round(unix_time_s - began_at_s, 1)),
        is_engine_available=_truth(now.value(f"{kind}_engine_available")),
        cpu_percent=_cpu_percent(history) if history.problem is None else None,
        memory_bytes=now.value("process_resident_memory_bytes"),
        loop_lag_p95_ms=_quantile_ms(lag, 0.95),
        busy_count=now.value(f"{kind}_{_BUSY[name]}", **_ROOM_LABELS.get(name, {})),
        slot_count=now.value(f"{kind}_{_SLOTS[name]}", **_ROOM_LABELS.get(name, {})),
        queued_count=now.value(f"{kind}_{_QUEUED[name]}") if name in _QUEUED else None,
        wait_p95_ms=_quantile_ms(_recent(history, now, f"{kind}_{wait}"), 0.95) if wait else None,
        real_time_factor_p50=None if factor is None else factor.quantile(0.5),
        tokens_per_second_p50=None if rate is None else rate.quantile(0.5),
    )


def _cpu_percent(history: History) -> float | None:
    """Of one core, since the scrape before."""
    if history.before is None or history.step_s <= 0:
        return None
    now, before = (each.value("process_cpu_seconds_total") for each in (history.latest, history.before))
    if now is None or before is None:
        return None
    return round(max(0.0, now - before) / history.step_s * 100, 1)


def _counts(history: History, now: Samples, name: str, label: str) -> Counts:
    total = now.by(name, label)
    if total is None:
        return Counts(None, None)
    if history.minute_ago is None:
        return Counts(None, total)
    # A label that has come since counts from 0.
    before = history.minute_ago.by(name, label) or {}
    recent = {key: max(0.0, value - before.get(key, 0.0)) for key, value in total.items()}
    return Counts(recent, total)


def _recent(history: History, now: Samples, name: str) -> Histogram | None:
    """The values of the last minute; of all time where only one scrape has been, or nothing in the last minute."""
    found = now.histogram(name)
    if found is None or history.minute_ago is None:
        return found
    recent = found.since(history.minute_ago.histogram(name))
    return recent if recent.count else found


def _latency(now: Samples, before: Samples | None) -> LatencyView | None:
    whole = _since(now, before, "parley_gateway_voice_to_voice_seconds")
    if whole is None or not whole.count or whole.mean is None:
        return None
    stages = []
    for stage in STAGES:
        found = _since(now, before, "parley_gateway_stage_seconds", stage=stage)
        if found is None or found.mean is None:
            return None
        stages.append(StageView(stage, found.mean * 1000, _quantile_ms(found, 0.95) or 0.0))
    return LatencyView(
        turn_count=round(whole.count),
        mean_ms=whole.mean * 1000,
        p50_ms=_quantile_ms(whole, 0.5) or 0.0,
        p95_ms=_quantile_ms(whole, 0.95) or 0.0,
        stages=tuple(stages),
    )


def _since(now: Samples, before: Samples | None, name: str, **labels: str) -> Histogram | None:
    found = now.histogram(name, **labels)
    return found.since(before.histogram(name, **labels)) if found and before else found


def _quantile_ms(histogram: Histogram | None, share: float) -> float | None:
    value = None if histogram is None else histogram.quantile(share)
    return None if value is None else value * 1000


def _truth(value: float | None) -> bool | None:
    return None if value is None else value != 0
