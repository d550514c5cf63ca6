"""The bars of a turn's five stages: one axis, each where the one before ended, and where the budget ends."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_cli.waterfall import axis, bars, milliseconds

BAR = set("█▌▐")


def lines(stages_ms: list[float], width: int = 36) -> list[str]:
    return [bar.plain for bar in bars(stages_ms, width)]


def filled(line: str) -> list[int]:
    """The half cells that a bar covers."""
    halves = {"█": (0, 1), "▌": (0,), "▐": (1,)}
    return [2 * cell + half for cell, character in enumerate(line) for half in halves.get(character, ())]


@given(st.lists(st.floats(0, 60_000), min_size=5, max_size=5), st.integers(20, 90))
def test_bars_follow_each_other_without_gap_or_overlap(stages_ms: list[float], width: int) -> None:
    drawn = lines(stages_ms, width)
    assert all(len(line) == width for line in drawn)
    covered = list(itertools.chain.from_iterable(map(filled, drawn)))
    assert covered == list(range(len(covered)))


def test_a_bar_is_as_long_as_its_share_of_the_axis() -> None:
    shares = [len(filled(line)) for line in lines([700, 350, 175, 87.5, 87.5], 71)]
    assert shares == [70, 35, 17, 9, 9]


def test_a_short_turn_leaves_room_up_to_the_budget() -> None:
    drawn = lines([100, 100, 50, 50, 50], 41)
    assert [line.index("┊") for line in drawn] == [40] * 5
    assert max(filled(drawn[-1])) == 39


def test_a_long_turn_goes_beyond_the_mark() -> None:
    drawn = lines([100, 100, 1100, 50, 50], 41)
    assert drawn[0].index("┊") == drawn[4].index("┊") == 20
    assert "┊" not in drawn[2]  # a bar hides it


def test_a_stage_too_short_to_be_seen_is_a_thin_line() -> None:
    drawn = lines([600, 0, 0.2, 50, 20])
    assert drawn[1].count("▏") == drawn[2].count("▏") == 1
    assert not BAR & set(drawn[1])


def test_nothing_at_all_is_five_thin_lines() -> None:
    assert [line[0] for line in lines([0, 0, 0, 0, 0])] == ["▏"] * 5


@pytest.mark.parametrize("total_ms", [100, 700, 1400, 14_000])
def test_the_axis_puts_its_mark_above_those_of_the_bars(total_ms: float) -> None:
    stages_ms = [0, 0, 0, 0, total_ms]
    label = axis(stages_ms, 40, "budget 700 ms").plain
    assert "budget 700 ms" in label
    assert label.index("┊") == bars(stages_ms, 40)[0].plain.index("┊")


@pytest.mark.parametrize(
    ("value_ms", "text"), [(0, "0"), (0.1, "<1"), (0.7, "1"), (61.6, "62"), (1234.4, "1234")]
)
def test_milliseconds_are_whole_and_nothing_is_hidden(value_ms: float, text: str) -> None:
    assert milliseconds(value_ms) == text
