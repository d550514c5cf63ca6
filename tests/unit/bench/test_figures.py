"""Figures and goals: what is written is what was measured, judged as the goals say."""

import math

import pytest

from bench.figures import (
    GOALS,
    Figure,
    count_figure,
    median_figure,
    quantile,
    quantile_spread,
)
from bench.report import Outcome, check_figures, is_met, made_report, ordered, rounded
from bench.scenario import Bench, Findings, Scenario


async def nothing(_: Bench) -> Findings:
    return Findings({})


def outcome(**figures: Figure) -> Outcome:
    return Outcome(Scenario("one", "One", 1, nothing), Findings(figures), "", 1.0)


def figure(value: float, unit: str = "ms") -> Figure:
    return Figure(value, unit, 10, (value, value), "measured")


def test_quantiles_are_nearest_rank() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [quantile(values, share) for share in (0.2, 0.5, 0.81, 1.0)] == [1.0, 3.0, 5.0, 5.0]
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_spread_holds_the_figure_is_always_the_same_and_shrinks_with_more_values() -> None:
    few, many = [float(i % 50) for i in range(50)], [float(i % 50) for i in range(2000)]
    low, high = quantile_spread(few, 0.5)
    assert low <= quantile(few, 0.5) <= high
    assert quantile_spread(few, 0.5) == (low, high)
    lower, higher = quantile_spread(many, 0.5)
    assert higher - lower < high - low


def test_a_median_has_its_rounds_as_spread() -> None:
    assert median_figure([3.0, 1.0, 2.0, 10.0], "s", "x") == Figure(2.5, "s", 4, (1.0, 10.0), "x")


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("voice_to_voice_overhead_p95_ms", 20.0, 20.01),
        ("sessions_per_core", 100.0, 99.9),
        ("resume_lost_turns", 0.0, 1.0),
        ("asr_cost_growth", 1.05, 1.06),
    ],
)
def test_goals_judge_both_sides_of_their_aim(name: str, good: float, bad: float) -> None:
    assert is_met(name, figure(good)) is True
    assert is_met(name, figure(bad)) is False


def test_what_has_no_goal_is_not_judged() -> None:
    assert is_met("something_else_ms", figure(1.0)) is None


def test_a_report_has_the_form_that_the_goals_ask_for() -> None:
    report = made_report(
        {"cores": 2},
        "abc",
        (outcome(sessions_per_core=Figure(123.4567, "sessions", 80, (120.0, 130.0), "so")),),
    )
    assert report.to_json() == {
        "machine": {"cores": 2},
        "commit": "abc",
        "figures": {
            "sessions_per_core": {
                "value": 123.5,
                "unit": "sessions",
                "goal": ">= 100",
                "met": True,
                "n": 80,
                "spread": [120.0, 130.0],
                "how": "so",
            }
        },
    }


def test_a_figure_without_a_goal_has_neither_goal_nor_verdict() -> None:
    written = made_report({}, "", (outcome(other_ms=figure(1.0)),)).to_json()["figures"]["other_ms"]
    assert "goal" not in written
    assert "met" not in written


def test_figures_come_in_the_order_of_the_goals() -> None:
    report = made_report(
        {},
        "",
        (outcome(a_ms=figure(1), start_ready_s=figure(1, "s"), sessions_per_core=figure(1, "sessions")),),
    )
    assert list(report.to_json()["figures"]) == ["sessions_per_core", "start_ready_s", "a_ms"]


def test_ratios_come_first() -> None:
    figures = {"a_ms": figure(1), "sessions_per_core": figure(1, "sessions"), "z": figure(1, "ratio")}
    assert ordered(figures) == ["z", "sessions_per_core", "a_ms"]


def test_a_figure_measured_twice_or_in_the_wrong_unit_or_infinite_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        check_figures({"a": figure(1)}, {"a"})
    with pytest.raises(ValueError, match="its goal in s"):
        check_figures({"start_ready_s": figure(1, "ms")})
    with pytest.raises(ValueError, match="finite"):
        check_figures({"a": figure(math.nan)})


def test_what_is_shown_as_good_enough_is_good_enough() -> None:
    # 20.0004 is written as 20: a page that says "20, goal at most 20, not met" would puzzle everybody.
    assert rounded(20.0004) == 20.0
    assert is_met("voice_to_voice_overhead_p95_ms", figure(20.0004)) is True


def test_counts_say_of_how_many() -> None:
    assert count_figure(2, 40, "x") == Figure(2.0, "count", 40, (2.0, 2.0), "x")


def test_every_goal_says_its_unit_in_its_name_where_it_has_one() -> None:
    endings = {"ms": "_ms", "s": "_s", "KiB": "_kib", "chars": "_chars"}
    for name, goal in GOALS.items():
        if goal.unit in endings:
            assert name.endswith(endings[goal.unit]), name
