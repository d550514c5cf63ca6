"""Every metric of the tts process. `bootstrap` makes them; `servicer`, `availability` and the engines' queues count."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from parley_servicekit.outcomes import RequestOutcome
from parley_servicekit.queue_metrics import QueueMetrics
from parley_servicekit.reasons import reason_label

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_WAIT_SECONDS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_FACTORS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 3.0)


class Metrics:
    """Declared in `registry`. Labels have closed sets of values; none carries text, voices or callers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "parley_tts_requests_total",
            "Syntheses by how they ended, and the fault's reason.",
            ["outcome", "reason"],
            registry=registry,
        )
        self.running = Gauge("parley_tts_streams_running", "Syntheses that run now.", registry=registry)
        self.slots = Gauge("parley_tts_stream_slots", "Syntheses that may run at once.", registry=registry)
        queued = Gauge("parley_tts_requests_queued", "Phrases that wait for the engine.", registry=registry)
        wait = Histogram(
            "parley_tts_queue_wait_seconds",
            "How long a phrase waited for the engine, 0 for most; the scripted engine lets none wait.",
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self.queue = QueueMetrics(queued, wait)
        self.first_audio = Histogram(
            "parley_tts_first_audio_seconds",
            "From a request's first text to its first audio handed to the network.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.audio = Counter("parley_tts_audio_seconds_total", "Speech made.", registry=registry)
        self.real_time_factor = Histogram(
            "parley_tts_real_time_factor_ratio",
            "Time that making a phrase took, waiting for the engine included, by the time it plays.",
            buckets=_FACTORS,
            registry=registry,
        )
        self._failed_phrases = Counter(
            "parley_tts_failed_phrases_total",
            "Phrases not spoken to their end.",
            ["reason"],
            registry=registry,
        )
        self.available = Gauge(
            "parley_tts_engine_available", "1 while the engine can speak, else 0.", registry=registry
        )
        self.engine_losses = Counter(
            "parley_tts_engine_losses_total",
            "Times that the engine, or a part of it, was lost.",
            registry=registry,
        )
        for outcome in RequestOutcome:
            self._requests.labels(outcome.value, "")
        self._failed_phrases.labels("SYNTHESIS_FAILED")

    def request_ended(self, outcome: RequestOutcome, reason: str) -> None:
        """A synthesis is over. reason: the fault's, empty where there is none."""
        self._requests.labels(outcome.value, reason_label(reason)).inc()

    def phrase_failed(self, reason: str) -> None:
        """A phrase was not spoken to its end, for a fault's reason."""
        self._failed_phrases.labels(reason_label(reason)).inc()
