"""The metrics that the four processes declare, taken from their own registries. For tests of `deploy/`."""

from functools import cache

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import Metric

from parley_asr.metrics import Metrics as AsrMetrics
from parley_gateway.metrics import GatewayMetrics
from parley_llm.metrics import Metrics as LlmMetrics
from parley_servicekit.process_metrics import ProcessMetrics
from parley_tts.metrics import Metrics as TtsMetrics

PROCESSES = ("gateway", "asr", "llm", "tts")
_OWN = {"gateway": GatewayMetrics, "asr": AsrMetrics, "llm": LlmMetrics, "tts": TtsMetrics}
_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "gauge": ("",),
    "info": ("_info",),
}


@cache
def families() -> tuple[Metric, ...]:
    """All of them, the ones of every process included, before anything was counted."""
    found: list[Metric] = []
    for process in PROCESSES:
        registry = CollectorRegistry()
        _OWN[process](registry)
        ProcessMetrics(process, registry)
        found += registry.collect()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return (*found, *registry.collect())


@cache
def series_names() -> frozenset[str]:
    """What can be asked for: counters end in _total, histograms in _bucket, _sum, _count."""
    return frozenset(
        family.name + suffix for family in families() for suffix in _SUFFIXES.get(family.type, ("",))
    )


@cache
def label_values() -> dict[tuple[str, str], frozenset[str]]:
    """(series, label) -> the values that are there from the start, for labels with a closed set of values."""
    values: dict[tuple[str, str], set[str]] = {}
    for family in families():
        for sample in family.samples:
            for label, value in sample.labels.items():
                values.setdefault((sample.name, label), set()).add(value)
    return {key: frozenset(found) for key, found in values.items()}
