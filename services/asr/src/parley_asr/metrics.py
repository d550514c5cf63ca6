"""Every metric of the asr process. Declared here only; `bootstrap` makes one, servicer and engines observe."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_BUCKETS_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Metrics on a registry of the caller's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "parley_asr_requests",
            "Calls by method and outcome: OK, CANCELLED, ABANDONED or the reason of the fault.",
            ["method", "outcome"],
            registry=registry,
        )
        self.streams = Gauge("parley_asr_streams", "Calls under way.", ["method"], registry=registry)
        self.audio = Counter("parley_asr_audio_seconds", "Audio heard.", registry=registry)
        self.utterances = Counter(
            "parley_asr_utterances",
            "Utterances by outcome: text, empty, failed.",
            ["outcome"],
            registry=registry,
        )
        self.first_partial = Histogram(
            "parley_asr_first_partial_seconds",
            "From STARTED to the first partial transcript.",
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.final = Histogram(
            "parley_asr_final_seconds",
            "From ENDED (or the call to finish) to the final transcript.",
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.real_time_factor = Histogram(
            "parley_asr_real_time_factor_ratio",
            "Time spent on a call's audio, waiting for the decoder included, over the length of that audio.",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 2),
            registry=registry,
        )
        self.decode_batch = Histogram(
            "parley_asr_decode_batch_streams",
            "Streams decoded in one run of the model.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
