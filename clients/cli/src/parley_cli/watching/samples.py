"""`Samples`: one scrape of one process, parsed and bounded. Used by `scraping` and `view`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from parley_cli.watching.histograms import Histogram

# Ours are a hundredth of both. What is longer comes from something else, or from somebody who means harm.
BODY_MAX_BYTES = 1024 * 1024
_LINE_MAX_CHARACTERS = 2048
_PREFIXES = ("parley_", "process_")

Labels = Mapping[str, str]


class NotMetricsError(Exception):
    """What was fetched cannot be read as Prometheus's text format."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Series by name: their labels and values. What a process does not have is None, which is not 0."""

    series: Mapping[str, list[tuple[Labels, float]]] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of all series that have these labels; None when there is none."""
        values = [value for _, value in self._matching(name, labels)]
        return sum(values) if values else None

    def by(self, name: str, label: str) -> dict[str, float] | None:
        """Values by one label, `total` for those that lack it; None when there is no such metric."""
        if name not in self.series:
            return None
        found: dict[str, float] = {}
        for labels, value in self.series[name]:
            key = labels.get(label, "total")
            found[key] = found.get(key, 0.0) + value
        return found

    def label(self, name: str, label: str) -> str | None:
        """The label of the first such series, as of `build_info`."""
        return next((labels[label] for labels, _ in self.series.get(name, []) if label in labels), None)

    def histogram(self, name: str, **labels: str) -> Histogram | None:
        """The histogram with these labels; None when there is none that makes sense."""
        buckets: dict[float, float] = {}
        for found, count in self._matching(f"{name}_bucket", labels):
            bound = _number(found.get("le", ""))
            if bound is None or math.isnan(bound):
                return None
            buckets[bound] = buckets.get(bound, 0.0) + count
        total = self.value(f"{name}_sum", **labels)
        return None if total is None else Histogram.from_cumulative(list(buckets.items()), total)

    def _matching(self, name: str, labels: Labels) -> list[tuple[Labels, float]]:
        wanted = labels.items()
        return [each for each in self.series.get(name, []) if wanted <= each[0].items()]


def parse(body: str) -> Samples:
    """The samples in a scrape. Raises NotMetricsError when nothing in it is ours."""
    lines = [
        line for line in body.split("\n") if line.startswith(_PREFIXES) and len(line) <= _LINE_MAX_CHARACTERS
    ]
    series: dict[str, list[tuple[Labels, float]]] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines)):
            for sample in family.samples:
                if not math.isnan(sample.value):
                    series.setdefault(sample.name, []).append((sample.labels, sample.value))
    except (ValueError, IndexError, KeyError, TypeError):  # what the parser raises for lines that are none
        raise NotMetricsError from None
    if not series:
        raise NotMetricsError
    return Samples(series)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
