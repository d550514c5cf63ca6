"""The llm process's Prometheus metrics. `bootstrap` makes them, `chat` and `availability` write them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)


class Metrics:
    """Declared in `registry`; no label carries text, names of models or of callers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "parley_llm_requests_total",
            "Answers by outcome: completed, cancelled, refused (by us) or failed (upstream), and the fault's reason.",
            ["outcome", "reason"],
            registry=registry,
        )
        self.running = Gauge("parley_llm_answers_running", "Answers that hold a slot.", registry=registry)
        self.queued = Gauge("parley_llm_requests_queued", "Requests that wait for a slot.", registry=registry)
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
        self.tokens = Counter(
            "parley_llm_tokens_total",
            "Tokens as the engine counts them: prompt or completion.",
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
