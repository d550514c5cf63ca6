"""The page shows what was found, alone and unharmed by what it shows."""

import re
from html.parser import HTMLParser

from bench.figures import Figure
from bench.report import Outcome, Report, made_report
from bench.report_page import number, rows, summary, written_page
from bench.scenario import Bench, Findings, Plot, Scenario

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
