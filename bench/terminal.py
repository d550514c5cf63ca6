"""What a person at a terminal sees: progress while it runs, the table at the end. Used by `bench.__main__`."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.compare import Compared
from bench.report import Report
from bench.report_page import number, rows, summary
from bench.words import words_of

_STYLES = {
    "met": "green",
    "missed": "red",
    "ungoaled": "dim",
    "better": "green",
    "worse": "red",
}


def show_report(console: Console, report: Report) -> None:
    """The headline table."""
    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("figure", "left"),
        ("measured", "right"),
        ("range", "right"),
        ("goal", "right"),
        ("", "left"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows(report):
        style = _STYLES[row["kind"]]
        table.add_row(
            _figure(row["name"]),
            f"{row['value']} {row['unit']}".rstrip(),
            row["spread"],
            row["goal"],
            f"[{style}]{row['verdict']}[/]",
        )
    console.print(table)
    console.print(summary(report), highlight=False)


def show_comparison(console: Console, compared: Sequence[Compared], remarks: Sequence[str]) -> None:
    """Old, new, ratio and a verdict in words for each figure; then what makes them doubtful."""
    table = Table(box=None, pad_edge=False)
    table.add_column("figure", overflow="fold")
    for name in ("old", "new", "new ÷ old"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in compared:
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        if each.spread is not None:
            ratio += f" ({each.spread[0]:.2f} to {each.spread[1]:.2f})"
        verdict = f"[{_STYLES.get(each.verdict, 'dim')}]{each.verdict}[/]"
        table.add_row(_figure(each.name), number(each.old), number(each.new), ratio, verdict)
    console.print(table)
    for remark in remarks:
        console.print(remark, highlight=False, markup=False)


def _figure(name: str) -> str:
    """Its words, and below them the id by which the report and other commands know it."""
    words = words_of(name)
    return f"{words}\n[dim]{name}[/]" if words else name
