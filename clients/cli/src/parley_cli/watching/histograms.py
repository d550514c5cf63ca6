"""`Histogram`: a Prometheus histogram as it was scraped, and what can be read from it. Pure. Used by `view`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Histogram:
    """Upper bounds in ascending order, the last one infinite; how many values each bucket has, not cumulated."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float

    @staticmethod
    def from_cumulative(buckets: Sequence[tuple[float, float]], total: float) -> "Histogram | None":
        """From (bound, how many values up to it). None for what is none: no infinite bound, counts that fall."""
        ordered = sorted(buckets)
        if not ordered or ordered[-1][0] != math.inf or not math.isfinite(total):
            return None
        counts = [ordered[0][1], *(after - before for (_, before), (_, after) in pairwise(ordered))]
        if any(not math.isfinite(count) or count < 0 for count in counts):
            return None
        return Histogram(tuple(bound for bound, _ in ordered), tuple(counts), total)

    @property
    def count(self) -> float:
        """How many values."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """None without values."""
        return self.sum / self.count if self.count else None

    def since(self, earlier: "Histogram | None") -> "Histogram":
        """The values that came after `earlier`; all when that is None or of other buckets."""
        if earlier is None or earlier.bounds != self.bounds:
            return self
        counts = tuple(
            max(0.0, now - before) for now, before in zip(self.counts, earlier.counts, strict=True)
        )
        return Histogram(self.bounds, counts, max(0.0, self.sum - earlier.sum))

    def quantile(self, share: float) -> float | None:
        """The value that `share` of the values do not exceed, as PromQL's histogram_quantile has it: evenly spread
        within a bucket; beyond the last finite bound, that bound. None without values.
        """
        wanted = share * self.count
        if not self.count:
            return None
        lower = below = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count and below + count >= wanted:
                if bound == math.inf:
                    return lower
                return lower + (bound - lower) * (wanted - below) / count
            below += count
            lower = bound if bound < math.inf else lower
        return lower
