"""Prometheus metrics of the gateway, all of them. Made by bootstrap; counted by sessions and entrypoints."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from parley_gateway.conversation import ReplyOutcome
from parley_gateway.latency import Latency

# Around the budget of 700 ms voice to voice, finer below it.
_BUCKETS_S = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.85,
    1.0,
    1.2,
    1.5,
    2.0,
    3.0,
    5.0,
    10.0,
)


class GatewayMetrics:
    """Counters and histograms. Labels come from closed sets of ours, never from clients."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sessions = Gauge("parley_gateway_sessions", "Sessions that are open", registry=registry)
        self.refused_sessions = Counter(
            "parley_gateway_refused_sessions",
            "Sessions that were refused for lack of room",
            registry=registry,
        )
        self._replies = Counter(
            "parley_gateway_replies", "Replies by how they ended", ["outcome"], registry=registry
        )
        self._stages = Histogram(
            "parley_gateway_stage_seconds",
            "The five consecutive segments from the last speech sample to the first reply sample",
            ["stage"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._voice_to_voice = Histogram(
            "parley_gateway_voice_to_voice_seconds",
            "From the last speech sample to the first reply sample",
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._errors = Counter(
            "parley_gateway_errors", "Errors told to clients, by reason", ["reason"], registry=registry
        )
        self.store_degraded = Gauge(
            "parley_gateway_store_degraded",
            "1 while something that was accepted is not in the store yet",
            registry=registry,
        )
        for outcome in ReplyOutcome:
            self._replies.labels(outcome.value)

    def reply_ended(self, outcome: ReplyOutcome, latency: Latency | None) -> None:
        """A reply is over."""
        self._replies.labels(outcome.value).inc()
        if latency is None:
            return
        for stage, value_ms in latency.stages_ms().items():
            self._stages.labels(stage).observe(value_ms / 1000)
        self._voice_to_voice.observe(latency.voice_to_voice_ms / 1000)

    def error(self, reason: str) -> None:
        """A client was told of an error. Reasons are ours or our services': a closed set."""
        self._errors.labels(reason).inc()
