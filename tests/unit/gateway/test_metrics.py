"""The gateway's metrics by themselves: exemplars, and labels that begin at 0."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from parley_gateway.conversation import ReplyOutcome
from parley_gateway.latency import STAGES, Latency
from parley_gateway.metrics import GatewayMetrics, TurnOutcome
from parley_gateway.session.reply_counts import heard_share, turn_outcome
from parley_gateway.turns.actions import CancelReason

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LATENCY = Latency(600.0, 20.0, 80.0, 40.0, 1.0)


def exemplars(registry: CollectorRegistry) -> dict[str, set[tuple[str, float]]]:
    """By the name of the series: trace and value of every exemplar, as a scraper reads them."""
    found: dict[str, set[tuple[str, float]]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            if sample.exemplar is not None:
                told = (sample.exemplar.labels["trace_id"], sample.exemplar.value)
                found.setdefault(sample.name, set()).add(told)
    return found


def test_a_traced_turn_is_the_example_in_its_buckets() -> None:
    registry = CollectorRegistry()
    GatewayMetrics(registry).reply_ended(ReplyOutcome.COMPLETED, LATENCY, TRACE)
    assert exemplars(registry) == {
        "parley_gateway_voice_to_voice_seconds_bucket": {(TRACE, LATENCY.voice_to_voice_ms / 1000)},
        "parley_gateway_stage_seconds_bucket": {
            (TRACE, value_ms / 1000) for value_ms in LATENCY.stages_ms().values()
        },
    }


def test_a_turn_without_a_trace_is_counted_without_an_example() -> None:
    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry)
    metrics.reply_ended(ReplyOutcome.COMPLETED, LATENCY, None)
    metrics.reply_ended(ReplyOutcome.FAILED, None, TRACE)
    assert exemplars(registry) == {}
    assert registry.get_sample_value("parley_gateway_voice_to_voice_seconds_count") == 1
    for stage in STAGES:
        assert registry.get_sample_value("parley_gateway_stage_seconds_count", {"stage": stage}) == 1


def test_the_budget_and_the_promise_are_bounds_of_buckets() -> None:
    registry = CollectorRegistry()
    GatewayMetrics(registry)
    for bound in ("0.7", "1.2"):
        name = "parley_gateway_voice_to_voice_seconds_bucket"
        assert registry.get_sample_value(name, {"le": bound}) == 0


@pytest.mark.parametrize(
    ("outcome", "reason", "was_perceived", "expected"),
    [
        (ReplyOutcome.COMPLETED, None, True, TurnOutcome.ANSWERED),
        (ReplyOutcome.INTERRUPTED, CancelReason.SPEECH, True, TurnOutcome.ANSWERED),
        (ReplyOutcome.INTERRUPTED, CancelReason.SUPERSEDED, False, TurnOutcome.SUPERSEDED),
        (ReplyOutcome.INTERRUPTED, CancelReason.REQUEST, False, TurnOutcome.CANCELLED),
        (ReplyOutcome.INTERRUPTED, CancelReason.CONVERSATION_ENDED, False, TurnOutcome.CANCELLED),
        (ReplyOutcome.FAILED, None, True, TurnOutcome.FAILED),
        (ReplyOutcome.FAILED, None, False, TurnOutcome.FAILED),
    ],
)
def test_what_became_of_a_turn(
    outcome: ReplyOutcome, reason: CancelReason | None, was_perceived: bool, expected: TurnOutcome
) -> None:
    assert turn_outcome(outcome, reason, was_perceived=was_perceived) is expected


@pytest.mark.parametrize(
    ("heard", "written", "share"),
    [
        ("", "one two", 0.0),
        ("one", "one two", 0.5),
        ("one two", " one\n two ", 1.0),
        ("你好", "你好世界", 0.5),
        ("more than", "this", 1.0),
        ("", "", 1.0),
    ],
)
def test_the_share_that_was_heard_is_of_letters_and_never_more_than_all(
    heard: str, written: str, share: float
) -> None:
    assert heard_share(heard, written) == share
