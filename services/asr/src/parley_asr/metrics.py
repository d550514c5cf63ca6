"""Every metric of the asr process. `bootstrap` makes them; `call_record`, `servicer` and the decoder count."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from parley_servicekit.outcomes import RequestOutcome
from parley_servicekit.reasons import reason_label

_SECONDS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 2.5, 5.0, 10.0)
_WAIT_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_FACTORS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0)
_METHODS = ("StreamingRecognize", "Recognize")


class Metrics:
    """Declared in `registry`. Labels have closed sets of values; none carries text, models or callers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "parley_asr_requests_total",
            "Calls by how they ended, and the fault's reason.",
            ["method", "outcome", "reason"],
            registry=registry,
        )
        self.streams = Gauge("parley_asr_streams", "Calls under way.", ["method"], registry=registry)
        self.slots = Gauge(
            "parley_asr_stream_slots", "Calls that may be under way at once.", ["method"], registry=registry
        )
        self.audio = Counter("parley_asr_audio_seconds_total", "Audio heard.", registry=registry)
        self.utterances = Counter(
            "parley_asr_utterances_total", "Utterances by outcome.", ["outcome"], registry=registry
        )
        self.first_partial = Histogram(
            "parley_asr_first_partial_seconds",
            "From STARTED to the first partial transcript.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.final = Histogram(
            "parley_asr_final_seconds",
            "From ENDED (or the call to finish) to the final transcript.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.real_time_factor = Histogram(
            "parley_asr_real_time_factor_ratio",
            "Time spent on a call's audio, waiting for the decoder included, over the length of that audio.",
            buckets=_FACTORS,
            registry=registry,
        )
        self.decode_queue = Gauge(
            "parley_asr_decode_queue_streams",
            "Streams whose audio waits for the decoder; not for the scripted engine, which has none.",
            registry=registry,
        )
        self._decode_wait = Histogram(
            "parley_asr_decode_wait_seconds",
            "How long a stream's audio waited until the decoder took it up.",
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self._decode_batch = Histogram(
            "parley_asr_decode_batch_streams",
            "Streams decoded in one run of the model.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        for method in _METHODS:
            self.streams.labels(method)
            self.slots.labels(method)
            for outcome in RequestOutcome:
                self._requests.labels(method, outcome.value, "")
        for utterance_outcome in ("text", "empty", "failed"):
            self.utterances.labels(utterance_outcome)

    def request_ended(self, method: str, outcome: RequestOutcome, reason: str) -> None:
        """A call is over. reason: the fault's, empty where there is none."""
        self._requests.labels(method, outcome.value, reason_label(reason)).inc()

    def batch_begun(self, stream_count: int, waits_s: Sequence[float]) -> None:
        """The decoder takes up so many streams, some of which had waited."""
        self._decode_batch.observe(stream_count)
        for wait_s in waits_s:
            self._decode_wait.observe(wait_s)
