"""Every metric of the llm process. `bootstrap` makes them; `chat`, `slots` and `availability` count."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from parley_servicekit.outcomes import RequestOutcome
from parley_servicekit.queue_metrics import QueueMetrics
from parley_servicekit.reasons import reason_label

_SECONDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
_WAIT_SECONDS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_RATES = (1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 400, 800, 1600)


class Metrics:
    """Declared in `registry`. Labels have closed sets of values; none carries text, names of models or of callers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "parley_llm_requests_total",
            "Answers by how they ended, and the fault's reason.",
            ["outcome", "reason"],
            registry=registry,
        )
        self.running = Gauge("parley_llm_answers_running", "Answers that hold a slot.", registry=registry)
        self.slots = Gauge(
            "parley_llm_answer_slots", "Answers that may be written at once.", registry=registry
        )
        queued = Gauge("parley_llm_requests_queued", "Requests that wait for a slot.", registry=registry)
        wait = Histogram(
            "parley_llm_queue_wait_seconds",
            "How long a request waited for a slot, 0 for most.",
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self.queue = QueueMetrics(queued, wait)
        self.first_token = Histogram(
            "parley_llm_first_token_seconds",
            "From a request's arrival to its first delta.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.answer = Histogram(
            "parley_llm_answer_seconds",
            "From a request's arrival to the end of its answer.",
            buckets=(*_SECONDS, 30.0, 60.0, 120.0),
            registry=registry,
        )
        self.rate = Histogram(
            "parley_llm_tokens_per_second",
            "How fast each whole answer was written after its first token, as fast as its caller read it.",
            buckets=_RATES,
            registry=registry,
        )
        self.tokens = Counter(
            "parley_llm_tokens_total",
            "Tokens of whole answers as the engine counts them.",
            ["kind"],
            registry=registry,
        )
        self.deltas = Counter("parley_llm_deltas_total", "Pieces of answers sent.", registry=registry)
        self.dropped_messages = Counter(
            "parley_llm_dropped_messages_total",
            "Messages left out because a conversation did not fit the context.",
            registry=registry,
        )
        self.available = Gauge(
            "parley_llm_engine_available", "1 while the engine can answer, else 0.", registry=registry
        )
        self.engine_losses = Counter(
            "parley_llm_engine_losses_total",
            "Times that the engine stopped being available.",
            registry=registry,
        )
        for outcome in RequestOutcome:
            self._requests.labels(outcome.value, "")
        for kind in ("prompt", "completion"):
            self.tokens.labels(kind)

    def request_ended(self, outcome: RequestOutcome, reason: str) -> None:
        """An answer is over. reason: the fault's, empty where there is none."""
        self._requests.labels(outcome.value, reason_label(reason)).inc()
