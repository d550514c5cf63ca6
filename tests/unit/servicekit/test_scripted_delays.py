"""Delays of scripted engines come from a seed and look like those of services."""

import random

import pytest
from pydantic import TypeAdapter, ValidationError

from parley_servicekit.scripted_delays import Delay, DelayDistribution, drawn_ms

DELAY: TypeAdapter[Delay] = TypeAdapter(Delay)


def drawn(delay: Delay, seed: int, count: int = 5000) -> list[float]:
    chance = random.Random(seed)
    return [drawn_ms(delay, chance) for _ in range(count)]


def test_a_number_is_always_that_and_draws_nothing() -> None:
    chance = random.Random(1)
    before = chance.getstate()
    assert drawn_ms(DELAY.validate_python(80), chance) == 80.0
    assert chance.getstate() == before


def test_a_distribution_has_the_quantiles_that_it_says() -> None:
    values = sorted(drawn(DELAY.validate_python({"p50_ms": 80, "p95_ms": 240}), seed=1))
    assert values[2500] == pytest.approx(80, rel=0.05)
    assert values[4750] == pytest.approx(240, rel=0.1)
    assert values[0] > 0


def test_nothing_is_longer_than_the_longest() -> None:
    assert max(drawn(DELAY.validate_python({"p50_ms": 80, "p95_ms": 240, "max_ms": 250}), seed=1)) == 250


def test_the_same_seed_gives_the_same_delays_and_another_one_others() -> None:
    delay = DelayDistribution(p50_ms=80, p95_ms=240)
    assert drawn(delay, seed=1) == drawn(delay, seed=1) != drawn(delay, seed=2)


def test_equal_quantiles_are_a_constant() -> None:
    assert drawn(DelayDistribution(p50_ms=80, p95_ms=80), seed=1, count=3) == pytest.approx([80.0] * 3)


@pytest.mark.parametrize(
    "wrong",
    [-1, 600_001, {"p50_ms": 80}, {"p50_ms": 80, "p95_ms": 40}, {"p50_ms": 0, "p95_ms": 40}, {"mean_ms": 80}],
)
def test_what_is_no_delay_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        DELAY.validate_python(wrong)
