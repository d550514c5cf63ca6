"""What every process tells of itself: its build, its errors, its event loop, its queues; and how requests end."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Gauge, Histogram

from parley_servicekit.event_loop_lag import observed_loop_lag
from parley_servicekit.faults import Fault
from parley_servicekit.outcomes import RequestOutcome, ended_by
from parley_servicekit.process_metrics import ProcessMetrics
from parley_servicekit.queue_metrics import QueueMetrics
from parley_servicekit.reasons import REASONS, reason_label
from support.virtual_time import VirtualTimeLoop


def test_a_loop_that_is_blocked_is_late_by_so_much_and_one_that_is_free_is_not() -> None:
    lags: list[float] = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        with observed_loop_lag(lags.append, loop.time):
            await asyncio.sleep(0.35)
            assert [round(lag, 3) for lag in lags] == [0, 0, 0]
            loop.advance(0.25)  # as if something had computed for so long
            await asyncio.sleep(0.15)
            assert round(lags[3], 3) == 0.2
        count = len(lags)
        await asyncio.sleep(1)
        assert len(lags) == count, "nothing looks any more"

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(watch())


def test_a_process_tells_its_version_and_counts_only_reasons_that_are_ours() -> None:
    registry = CollectorRegistry()
    metrics = ProcessMetrics("asr", registry)
    assert registry.get_sample_value("parley_asr_build_info", {"version": "0.1.0"}) == 1
    for index in range(1000):
        metrics.error(f"WHAT_A_STRANGER_SENT_{index}")
    metrics.error("AT_CAPACITY")
    assert registry.get_sample_value("parley_asr_errors_total", {"reason": "OTHER"}) == 1000
    assert registry.get_sample_value("parley_asr_errors_total", {"reason": "AT_CAPACITY"}) == 1
    [errors] = [family for family in registry.collect() if family.name == "parley_asr_errors"]
    assert {sample.labels["reason"] for sample in errors.samples} == {"INTERNAL", "OTHER", "AT_CAPACITY"}


def test_series_are_not_doubled_by_their_time_of_creation() -> None:
    registry = CollectorRegistry()
    ProcessMetrics("asr", registry)
    names = {sample.name for family in registry.collect() for sample in family.samples}
    assert not [name for name in names if name.endswith("_created")]


def test_reasons_are_what_a_fault_may_have_and_empty_stays_empty() -> None:
    for reason in REASONS:
        Fault(reason, "says something", code=Fault.internal().code)
        assert reason_label(reason) == reason
    assert reason_label("") == ""
    assert reason_label("at_capacity") == "OTHER"


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (None, RequestOutcome.COMPLETED, ""),
        (asyncio.CancelledError(), RequestOutcome.CANCELLED, ""),
        (GeneratorExit(), RequestOutcome.CANCELLED, ""),
        (Fault.caller("INVALID_FIELD", "no"), RequestOutcome.REFUSED, "INVALID_FIELD"),
        (Fault.capacity("AT_CAPACITY", "full", retry_after_ms=1), RequestOutcome.REFUSED, "AT_CAPACITY"),
        (Fault.unavailable("ENGINE_DIED", "gone"), RequestOutcome.FAILED, "ENGINE_DIED"),
        (ExceptionGroup("", [Fault.deadline("TEXT_IDLE", "slow")]), RequestOutcome.FAILED, "TEXT_IDLE"),
        (ValueError("what somebody said"), RequestOutcome.FAILED, "INTERNAL"),
    ],
)
def test_how_a_request_ended(error: BaseException | None, outcome: RequestOutcome, reason: str) -> None:
    assert ended_by(error) == (outcome, reason)


def test_waiting_is_counted_while_it_lasts_and_timed_however_it_ends() -> None:
    registry, now_s = CollectorRegistry(), [0.0]
    waiting = Gauge("waiting", "Waiting.", registry=registry)
    wait = Histogram("wait_seconds", "Wait.", buckets=(1,), registry=registry)
    queue = QueueMetrics(waiting, wait, lambda: now_s[0])
    queue.no_wait()
    with pytest.raises(TimeoutError), queue.waiting():
        assert registry.get_sample_value("waiting") == 1
        now_s[0] += 3
        raise TimeoutError
    assert registry.get_sample_value("waiting") == 0
    assert registry.get_sample_value("wait_seconds_count") == 2
    assert registry.get_sample_value("wait_seconds_sum") == 3


def test_queues_that_nobody_watches_do_not_meet_in_a_registry() -> None:
    for _ in range(2):
        with QueueMetrics.unregistered().waiting():
            pass
