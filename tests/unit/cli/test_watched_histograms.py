"""Reading Prometheus histograms: differences, means, quantiles as PromQL estimates them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_cli.watching.histograms import Histogram

BOUNDS = (0.1, 0.5, 1.0, math.inf)


def histogram(*counts: float, total: float = 1.0) -> Histogram:
    return Histogram(BOUNDS, counts, total)


def test_cumulated_buckets_become_counts() -> None:
    found = Histogram.from_cumulative([(math.inf, 7), (0.1, 1), (1.0, 6), (0.5, 4)], 3.5)
    assert found == histogram(1, 3, 2, 1, total=3.5)
    assert found.count == 7
    assert found.mean == 0.5


@pytest.mark.parametrize(
    "buckets", [[], [(0.1, 1.0)], [(0.1, 5.0), (math.inf, 3.0)], [(0.1, math.inf), (math.inf, math.inf)]]
)
def test_what_is_no_histogram_is_none(buckets: list[tuple[float, float]]) -> None:
    assert Histogram.from_cumulative(buckets, 1.0) is None


def test_a_quantile_lies_within_its_bucket_in_proportion() -> None:
    assert histogram(0, 4, 0, 0).quantile(0.5) == pytest.approx(0.3)
    assert histogram(1, 1, 1, 0).quantile(1.0) == pytest.approx(1.0)
    assert histogram(2, 0, 0, 0).quantile(0.5) == pytest.approx(0.05)


def test_beyond_the_last_bound_a_quantile_is_that_bound() -> None:
    assert histogram(0, 0, 0, 3).quantile(0.95) == 1.0


def test_nothing_has_neither_mean_nor_quantile() -> None:
    empty = histogram(0, 0, 0, 0, total=0.0)
    assert empty.mean is None
    assert empty.quantile(0.5) is None


def test_a_difference_holds_what_came_since() -> None:
    recent = histogram(3, 4, 1, 0, total=5.0).since(histogram(1, 4, 0, 0, total=2.0))
    assert recent == histogram(2, 0, 1, 0, total=3.0)


def test_a_difference_to_nothing_or_to_other_buckets_is_all() -> None:
    now = histogram(3, 4, 1, 0)
    assert now.since(None) is now
    assert now.since(Histogram((1.0, math.inf), (1, 0), 1.0)) is now


def test_counters_that_began_anew_are_never_negative() -> None:
    assert histogram(0, 1, 0, 0, total=0.2).since(histogram(5, 5, 5, 5, total=9.0)).count == 0


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any), st.floats(0.01, 0.99))
def test_quantiles_only_grow(counts: list[int], share: float) -> None:
    found = histogram(*counts)
    lower, upper = found.quantile(share / 2), found.quantile(share)
    assert lower is not None
    assert upper is not None
    assert 0 <= lower <= upper <= 1.0
