"""Two reports side by side: only what is larger than noise is called better or worse."""

import json
from pathlib import Path

import pytest

from bench.compare import compared, differences, only_in
from bench.figures import Figure
from bench.report import Report, ReportError, read_report


def report(**figures: tuple[float, float, float]) -> Report:
    made = {name: Figure(value, "ms", 5, (low, high), "x") for name, (value, low, high) in figures.items()}
    return Report({"cores": 2}, "abc", made)


@pytest.mark.parametrize(
    ("name", "old", "new", "verdict"),
    [
        ("gateway_overhead_p95_ms", (20, 19, 21), (10, 9, 11), "better"),
        ("gateway_overhead_p95_ms", (10, 9, 11), (20, 19, 21), "worse"),
        ("sessions_per_core", (100, 95, 105), (150, 140, 160), "better"),
        ("sessions_per_core", (150, 140, 160), (100, 95, 105), "worse"),
        ("gateway_overhead_p95_ms", (20, 15, 25), (16, 13, 18), "within noise"),
        ("gateway_overhead_p95_ms", (20, 20, 20), (20.9, 20.9, 20.9), "within noise"),
        ("gateway_overhead_p95_ms", (20, 19, 21), (20, 18, 22), "the same"),
        ("resume_lost_turns", (0, 0, 0), (1, 1, 1), "worse"),
        ("no_goal_ms", (10, 9, 11), (20, 19, 21), "higher"),
        ("no_goal_ms", (20, 19, 21), (10, 9, 11), "lower"),
    ],
)  # fmt: skip
def test_the_verdict_in_words(
    name: str, old: tuple[float, float, float], new: tuple[float, float, float], verdict: str
) -> None:
    (found,) = compared(report(**{name: old}), report(**{name: new}))
    assert found.verdict == verdict


def test_ratios_have_the_widest_plausible_spread_and_none_where_old_is_nothing() -> None:
    found = {
        each.name: each
        for each in compared(report(a=(10, 8, 12.5), b=(0, 0, 0)), report(a=(20, 10, 40), b=(1, 1, 1)))
    }
    assert found["a"].ratio == 2.0
    assert found["a"].spread == (0.8, 5.0)
    assert (found["b"].ratio, found["b"].spread) == (None, None)


def test_figures_of_one_report_only_are_named_and_not_compared() -> None:
    old, new = report(a=(1, 1, 1), b=(1, 1, 1)), report(b=(1, 1, 1))
    assert [each.name for each in compared(old, new)] == ["b"]
    assert (only_in(old, new), only_in(new, old)) == (["a"], [])


def test_other_machines_are_told() -> None:
    other = Report({"cores": 64}, "abc", {})
    assert differences(report(), other) == ["cores: 2 then, 64 now"]
    assert differences(report(), report()) == []


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = report(sessions_per_core=(120, 110, 130))
    path = tmp_path / "report.json"
    path.write_text(json.dumps(written.to_json()))
    assert read_report(path) == written


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"machine": {}, "commit": "", "figures": {"a": {"value": 1}}}',
        '{"figures": []}',
        "\x00",
    ],
)
def test_what_is_no_report_is_refused_in_a_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(ReportError, match="no report"):
        read_report(path)


def test_a_report_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="No such file"):
        read_report(tmp_path / "absent.json")
