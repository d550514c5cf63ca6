"""From what our processes tell Prometheus to the figures of `parley top`, and to the JSON that scripts read."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import ClassVar

import pytest
from unit.cli.exposition import AsrExposition, Exposition, GatewayExposition, LlmExposition, TtsExposition

from parley_cli.watching.histograms import Histogram
from parley_cli.watching.history import History
from parley_cli.watching.samples import Samples
from parley_cli.watching.view import PROCESSES, STAGES, View, build_view
from parley_gateway.conversation import ReplyOutcome
from parley_gateway.latency import STAGES as GATEWAY_STAGES
from parley_gateway.latency import Latency
from parley_gateway.metrics import TurnOutcome
from parley_gateway.turns.actions import CancelReason

NOW_S = 1090.0


class Processes:
    """Four processes that are scraped as `parley top` does, at times of ours."""

    def __init__(self) -> None:
        self.gateway, self.asr = GatewayExposition(), AsrExposition()
        self.llm, self.tts = LlmExposition(), TtsExposition()
        self.histories = {name: History() for name in PROCESSES}

    def all(self) -> Iterator[tuple[str, Exposition]]:
        yield from zip(PROCESSES, (self.gateway, self.asr, self.llm, self.tts), strict=True)

    def scrape(self, at_s: float) -> None:
        for name, exposition in self.all():
            self.histories[name].add(at_s, exposition.samples())

    def view(self) -> View:
        return build_view(self.histories, {name: f"http://{name}" for name in PROCESSES}, NOW_S)

    def answer(self, *stages_ms: float) -> None:
        self.gateway.metrics.turn_ended(TurnOutcome.ANSWERED)
        self.gateway.metrics.reply_ended(ReplyOutcome.COMPLETED, Latency(*stages_ms), None)


@pytest.fixture
def processes() -> Processes:
    return Processes()


def test_our_stages_are_those_of_the_gateway() -> None:
    assert tuple(GATEWAY_STAGES) == STAGES


def test_a_first_scrape_has_figures_since_the_start_only(processes: Processes) -> None:
    processes.answer(500, 40, 100, 50, 10)
    processes.scrape(5.0)
    view = processes.view()
    assert not view.has_window
    assert view.latency_last_minute is None
    assert view.latency_since_start is not None
    assert view.latency_since_start.turn_count == 1
    assert view.turns.last_minute is None
    assert view.turns.since_start is not None
    assert view.turns.since_start["answered"] == 1
    assert [process.cpu_percent for process in view.processes] == [None] * 4


def test_the_last_minute_is_the_difference_of_two_scrapes(processes: Processes) -> None:
    for _ in range(10):
        processes.answer(1500, 400, 1000, 500, 10)
    processes.scrape(5.0)
    processes.answer(480, 40, 110, 60, 10)
    processes.answer(520, 20, 90, 40, 30)
    processes.gateway.metrics.reply_ended(ReplyOutcome.INTERRUPTED, None, None)
    processes.gateway.metrics.barge_in(CancelReason.SPEECH)
    processes.scrape(35.0)
    view = processes.view()
    assert view.window_s == 30
    latency, whole = view.latency_last_minute, view.latency_since_start
    assert latency is not None
    assert whole is not None
    assert (latency.turn_count, whole.turn_count) == (2, 12)
    assert latency.mean_ms == pytest.approx(700)
    assert 600 <= latency.p50_ms <= 700
    assert whole.p50_ms > 3000
    assert [stage.stage for stage in latency.stages] == list(STAGES)
    assert [stage.mean_ms for stage in latency.stages] == pytest.approx([500, 30, 100, 50, 20])
    assert sum(stage.mean_ms for stage in latency.stages) == pytest.approx(latency.mean_ms)
    assert view.replies.last_minute == {"completed": 2, "interrupted": 1, "failed": 0}
    assert view.replies.since_start == {"completed": 12, "interrupted": 1, "failed": 0}
    assert view.barge_ins.last_minute is not None
    assert view.barge_ins.last_minute["speech"] == 1


def test_an_error_that_has_just_come_for_the_first_time_counts(processes: Processes) -> None:
    processes.scrape(5.0)
    processes.gateway.process.error("LLM_UNAVAILABLE")
    processes.scrape(6.0)
    errors = processes.view().errors.last_minute
    assert errors is not None
    assert errors["LLM_UNAVAILABLE"] == 1


def test_sessions_upstreams_and_store(processes: Processes) -> None:
    metrics = processes.gateway.metrics
    metrics.sessions.set(7)
    metrics.session_slots.set(64)
    metrics.refused_sessions.inc(3)
    metrics.is_draining.set(1)
    metrics.upstream("asr", is_up=True)
    metrics.upstream("llm", is_up=False)
    metrics.reply_played(0.5, 2, [10.0, 20.0])
    metrics.store_degraded.set(1)
    metrics.store_queued_events.set(41)
    metrics.store_append.observe(0.004)
    processes.scrape(1.0)
    view = processes.view()
    assert (view.session_count, view.session_slot_count, view.is_draining) == (7, 64, True)
    assert view.refused_sessions.since_start == {"total": 3}
    assert view.underruns.since_start == {"total": 2}
    assert view.upstreams == {"asr": True, "llm": False, "tts": False}
    assert view.heard_ratio_mean == 0.5
    assert (view.is_store_degraded, view.store_queued_event_count) == (True, 41)
    assert view.store_append_p95_ms is not None
    assert 2 < view.store_append_p95_ms <= 5


def test_each_process_tells_its_load(processes: Processes) -> None:
    asr, llm, tts = processes.asr.metrics, processes.llm.metrics, processes.tts.metrics
    asr.streams.labels("StreamingRecognize").set(5)
    asr.slots.labels("StreamingRecognize").set(32)
    asr.slots.labels("Recognize").set(4)
    asr.decode_queue.set(2)
    asr.batch_begun(1, [0.015])
    asr.real_time_factor.observe(0.05)
    llm.running.set(4)
    llm.slots.set(4)
    llm.available.set(1)
    llm.rate.observe(45)
    tts.running.set(3)
    tts.slots.set(8)
    tts.available.set(0)
    tts.real_time_factor.observe(1.2)
    with llm.queue.waiting(), tts.queue.waiting():
        processes.scrape(1.0)
    by_name = {process.name: process for process in processes.view().processes}
    rooms = [(each.busy_count, each.slot_count, each.queued_count) for each in by_name.values()]
    assert rooms == [(0, 0, None), (5, 32, 2), (4, 4, 1), (3, 8, 1)]
    assert [each.is_engine_available for each in by_name.values()] == [None, None, True, False]
    assert by_name["asr"].wait_p95_ms is not None
    assert 10 < by_name["asr"].wait_p95_ms <= 20
    assert by_name["asr"].real_time_factor_p50 is not None
    assert 0.03 < by_name["asr"].real_time_factor_p50 <= 0.1
    assert by_name["llm"].tokens_per_second_p50 is not None
    assert 40 < by_name["llm"].tokens_per_second_p50 <= 50
    assert by_name["tts"].real_time_factor_p50 is not None
    assert by_name["tts"].real_time_factor_p50 > 1


def test_processor_memory_version_and_lag(processes: Processes) -> None:
    processes.scrape(1.0)
    processes.gateway.cpu_s.set(0.5)
    processes.gateway.memory_bytes.set(84e6)
    processes.gateway.process.event_loop_lag.observe(0.0015)
    processes.scrape(3.0)
    gateway = processes.view().processes[0]
    assert (gateway.cpu_percent, gateway.memory_bytes, gateway.uptime_s) == (25.0, 84e6, 90.0)
    assert gateway.version
    assert gateway.loop_lag_p95_ms is not None
    assert 1 < gateway.loop_lag_p95_ms <= 2


def test_a_process_that_is_down_tells_its_problem_and_no_old_figures(processes: Processes) -> None:
    processes.gateway.metrics.sessions.set(7)
    processes.answer(500, 40, 100, 50, 10)
    processes.scrape(1.0)
    processes.scrape(2.0)
    processes.histories["gateway"].fail("nothing answers")
    view = processes.view()
    assert not view.is_well
    assert view.processes[0].problem == "nothing answers"
    assert (view.session_count, view.processes[0].cpu_percent, view.processes[0].memory_bytes) == (None,) * 3
    assert view.latency_since_start is view.latency_last_minute is None
    assert view.turns.since_start is None
    assert view.processes[1].problem is None


def test_a_gateway_that_is_not_watched_is_not_missed() -> None:
    view = build_view({"asr": History()}, {"asr": "http://asr"}, NOW_S)
    assert [process.name for process in view.processes] == ["asr"]
    assert view.session_count is None


def test_a_view_is_json(processes: Processes) -> None:
    processes.answer(500, 40, 100, 50, 10)
    processes.scrape(1.0)
    found = json.loads(json.dumps(asdict(processes.view()), allow_nan=False))
    assert found["latency_since_start"]["stages"][0]["stage"] == "endpointing"
    assert found["processes"][3]["name"] == "tts"


class ReadSamples(Samples):
    """Remembers the names of all metrics that it was asked for."""

    __slots__ = ()
    names: ClassVar[set[str]] = set()

    def value(self, name: str, **labels: str) -> float | None:
        self.names.add(name.removesuffix("_sum"))
        return super().value(name, **labels)

    def by(self, name: str, label: str) -> dict[str, float] | None:
        self.names.add(name)
        return super().by(name, label)

    def label(self, name: str, label: str) -> str | None:
        self.names.add(name)
        return super().label(name, label)

    def histogram(self, name: str, **labels: str) -> Histogram | None:
        self.names.add(name)
        return super().histogram(name, **labels)


def test_everything_that_is_read_is_told_by_our_processes(processes: Processes) -> None:
    processes.answer(500, 40, 100, 50, 10)
    told: set[str] = set()
    for name, exposition in processes.all():
        samples = exposition.samples()
        told |= {series.removesuffix("_bucket") for series in samples.series}
        processes.histories[name].add(1.0, ReadSamples(samples.series))
        processes.histories[name].add(2.0, ReadSamples(samples.series))
    processes.view()
    # Every process is asked for these, and those that have an engine tell some of them.
    of_engines = {
        f"parley_{name}_{metric}"
        for name in PROCESSES
        for metric in ("engine_available", "real_time_factor_ratio", "tokens_per_second")
    }
    assert ReadSamples.names - told <= of_engines
    assert {metric for metric in of_engines & told if "engine" not in metric} == {
        "parley_asr_real_time_factor_ratio",
        "parley_tts_real_time_factor_ratio",
        "parley_llm_tokens_per_second",
    }
