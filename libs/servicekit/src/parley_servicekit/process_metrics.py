"""`ProcessMetrics`: what every process tells besides its own work: its build, its event loop, the errors it told.

`process` makes one. The metrics of a process's own work are declared in its `metrics.py`; prometheus-client adds
`process_*` and `python_*`.
"""

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from parley_servicekit.reasons import reason_label

_LAG_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class ProcessMetrics:
    """Named after the process: `parley_asr_…`. Labels have closed sets of values, none of which a caller chooses."""

    def __init__(self, process_name: str, registry: CollectorRegistry) -> None:
        # A second series for each counter and histogram, and Prometheus makes nothing of it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        prefix = f"parley_{process_name}"
        build = Gauge(
            f"{prefix}_build_info", "Always 1; the label tells the version.", ["version"], registry=registry
        )
        build.labels(version(f"parley-{process_name}")).set(1)
        self.event_loop_lag = Histogram(
            f"{prefix}_event_loop_lag_seconds",
            "How late the event loop calls what is due, looked at ten times a second.",
            buckets=_LAG_BUCKETS_S,
            registry=registry,
        )
        self._errors = Counter(
            f"{prefix}_errors_total",
            "Errors told to callers, as the end of a call or (gateway) within a conversation.",
            ["reason"],
            registry=registry,
        )
        self._errors.labels("INTERNAL")

    def error(self, reason: str) -> None:
        """A caller was told of a fault."""
        self._errors.labels(reason_label(reason)).inc()
