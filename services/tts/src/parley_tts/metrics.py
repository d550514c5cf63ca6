"""The tts process's Prometheus metrics. `bootstrap` makes them, `servicer` and `availability` write them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_FACTORS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 3.0)


class Metrics:
    """Declared in `registry`; no label carries text, voices or callers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "parley_tts_requests_total",
            "Syntheses by outcome: completed, cancelled or failed, and the fault's reason.",
            ["outcome", "reason"],
            registry=registry,
        )
        self.running = Gauge("parley_tts_streams_running", "Syntheses that run now.", registry=registry)
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
        self.failed_phrases = Counter(
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
