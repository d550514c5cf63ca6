"""What the four processes tell Prometheus, written by their own registries: what `parley top` reads in unit tests."""

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from parley_asr.metrics import Metrics as AsrMetrics
from parley_cli.watching.samples import Samples, parse
from parley_gateway.metrics import GatewayMetrics
from parley_llm.metrics import Metrics as LlmMetrics
from parley_servicekit.process_metrics import ProcessMetrics
from parley_tts.metrics import Metrics as TtsMetrics


class Exposition:
    """The registry of a process, as `process.run` and its bootstrap put it together; started at a time of ours."""

    def __init__(self, name: str, began_at_s: float = 1000.0) -> None:
        self.registry = CollectorRegistry()
        self.process = ProcessMetrics(name, self.registry)
        self.cpu_s = self._gauge("process_cpu_seconds_total")
        self.memory_bytes = self._gauge("process_resident_memory_bytes")
        self._gauge("process_start_time_seconds").set(began_at_s)

    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def samples(self) -> Samples:
        return parse(self.text())

    def _gauge(self, name: str) -> Gauge:
        # prometheus-client writes these from /proc, under just these names.
        return Gauge(name, "Of the process.", registry=self.registry)


class GatewayExposition(Exposition):
    def __init__(self, began_at_s: float = 1000.0) -> None:
        super().__init__("gateway", began_at_s)
        self.metrics = GatewayMetrics(self.registry)


class AsrExposition(Exposition):
    def __init__(self) -> None:
        super().__init__("asr")
        self.metrics = AsrMetrics(self.registry)


class LlmExposition(Exposition):
    def __init__(self) -> None:
        super().__init__("llm")
        self.metrics = LlmMetrics(self.registry)


class TtsExposition(Exposition):
    def __init__(self) -> None:
        super().__init__("tts")
        self.metrics = TtsMetrics(self.registry)
