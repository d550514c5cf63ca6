"""The page shows what was found, alone and unharmed by what it shows."""

import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from bench.figures import Figure, count_figure
from bench.plots import drawn
from bench.report import Outcome, Report, made_report
from bench.report_page import number, rows, summary, written_page
from bench.scenario import Bench, Findings, Plot, Scenario
from bench.terminal import show_report
from bench.words import words_of

MACHINE = {
    "cpu": "A CPU",
    "cores": 2,
    "virtualised": True,
    "noise": {"stolen_share": 0.3, "longest_ms": 12.0, "p99_ms": 8.0},
    "length": "short",
}
PLOTS = (
    Plot("Curve", "cdf", {"a": [1.0, 2.0, 3.0]}, x_marks=((2.0, "budget"),)),
    Plot("Line", "line", {"a": [(1, 0.1), (2, 0.2)]}, y_marks=((1.0, "full"),)),
    Plot("Rows", "waterfall", {"first": [("scripted", 10.0), ("added", 1.0)], "next": [("scripted", 5.0)]}),
    Plot("Bars", "bars", {"ours": [("cpu", 1.0)], "theirs": [("cpu", 9.0)]}, caption="Shorter is better."),
)


async def nothing(_: Bench) -> Findings:
    return Findings({})


def report(*, problem: str = "") -> Report:
    figures = {
        "sessions_per_core": Figure(123.4, "sessions", 80, (120.0, 130.0), "gateway <pinned>"),
        "gateway_overhead_p95_ms": Figure(31.0, "ms", 80, (30.0, 32.0), "x"),
        "own_ms": Figure(1.0, "ms", 80, (1.0, 1.0), "x"),
    }
    findings = Findings(figures, PLOTS, ("A note with <script>alert(1)</script>.",))
    good = Outcome(Scenario("one", "Scenario one", 1, nothing), findings, "", 1.0)
    bad = Outcome(Scenario("two", "Scenario two", 1, nothing), None, problem, 1.0)
    return made_report(MACHINE, "abc", (good, bad) if problem else (good,))


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_from_elsewhere() -> None:
    for tag, attributes in Tags(written_page(report())).tags:
        assert tag not in ("script", "link", "iframe", "img")
        assert not {"src", "onload", "action"} & attributes.keys()
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")


def test_what_scenarios_say_is_text_and_no_markup() -> None:
    page = written_page(report())
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "gateway &lt;pinned&gt;" in page


def test_every_plot_is_drawn_in_the_colour_of_the_page() -> None:
    page = written_page(report())
    assert page.count("<svg") == len(PLOTS)
    assert "currentColor" in page
    assert "#123456" not in page
    for tag, attributes in Tags(page).tags:
        assert tag != "svg" or not {"width", "height"} & attributes.keys()
    assert "Shorter is better." in page


def test_each_figure_is_judged_in_words() -> None:
    verdicts = {row["name"]: row["verdict"] for row in rows(report())}
    assert verdicts == {
        "sessions_per_core": "✓ met",
        "gateway_overhead_p95_ms": "✗ not met",
        "own_ms": "no goal",
    }
    assert summary(report()).startswith("1 of 2 measured goals met")


def test_every_figure_is_shown_with_its_words_and_its_id() -> None:
    page = written_page(report())
    for name in ("sessions_per_core", "gateway_overhead_p95_ms", "own_ms"):
        assert f'<span class="id">{name}</span>' in page
        assert words_of(name) in page
    assert words_of("sessions_per_core")


def test_what_was_counted_has_no_range() -> None:
    figures = {"soak_failed_turns": count_figure(2, 40, "x"), "start_ready_s": Figure(2, "s", 3, (1, 3), "x")}
    spreads = {row["name"]: row["spread"] for row in rows(Report({}, "", figures))}
    assert spreads == {"soak_failed_turns": "", "start_ready_s": "1 to 3"}


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_words_and_ids_and_cuts_none(width: int) -> None:
    written = io.StringIO()
    show_report(Console(width=width, file=written, soft_wrap=True), report())
    assert "sessions_per_core" in written.getvalue()
    assert "live sessions per core" in written.getvalue()
    assert "…" not in written.getvalue()


def test_a_goal_beyond_the_curves_is_inside_the_picture() -> None:
    for value in (2.0, 100.0):
        svg = drawn(Plot("Curve", "cdf", {"a": [20.0, 25.0, 30.0]}, x_marks=((value, "goal"),)))
        [right] = re.findall(r'viewBox="0 0 ([\d.]+) ', svg)
        [mark] = re.findall(r'<path d="M ([\d.]+) [\d.]+ \nL \1 [^>]*stroke: #c74f6b', svg)
        axes = [float(x) for x in re.findall(r'<path d="M ([\d.]+) [^>]*stroke-linejoin: miter', svg)]
        assert min(axes) < float(mark) < float(right), value


def test_the_highest_point_of_a_line_is_inside_the_picture() -> None:
    svg = drawn(Plot("Line", "line", {"a": [(1.0, 23.7), (2.0, 21.2), (3.0, 20.5)]}))
    [spine] = re.findall(r'<path d="M ([\d.]+) ([\d.]+) \nL \1 ([\d.]+) \n" style="[^"]*linejoin: miter', svg)
    [highest] = re.findall(
        r'<path d="M [\d.]+ ([\d.]+) \nL [\d.]+ [\d.]+ \nL [^>]*clip-path[^>]*#2f80c9', svg
    )
    assert float(spine[2]) + 2 < float(highest) < float(spine[1])


def test_a_curve_of_one_value_spans_what_is_measured_in() -> None:
    assert "0.5" in drawn(Plot("Curve", "cdf", {"a": [0.0, 0.0]}))
    assert "0.04" not in drawn(Plot("Curve", "cdf", {"a": [0.0, 0.0]}))


def test_a_failed_scenario_is_told() -> None:
    page = written_page(report(problem="RuntimeError: it broke"))
    assert "Scenario two" in page
    assert "it broke" in page
    assert "1 scenario failed" in page


def test_a_noisy_machine_is_called_one() -> None:
    assert "noisy machine" in written_page(report())


def test_the_same_report_gives_the_same_page() -> None:
    assert written_page(report()) == written_page(report())


def test_numbers_are_short() -> None:
    assert [number(value) for value in (0.0, 0.98765, 12.345, 123.4, 12345.6, 100.0)] == [
        "0", "0.988", "12.3", "123", "12\u202f350", "100",
    ]  # fmt: skip


def test_no_figure_is_an_empty_table_and_no_failure() -> None:
    page = written_page(Report({}, "", {}))
    assert "0 of 0 measured goals met" in page
    assert not re.search(r"None|Undefined", page)
