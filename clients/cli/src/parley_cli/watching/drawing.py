"""Draws a `View` as lines of text for a terminal of any size from 80 by 24 up. Pure. Used by `parley top`."""

import math
from collections.abc import Mapping

from rich.text import Text

from parley_cli.messages import message
from parley_cli.screen import in_cells, printable
from parley_cli.watching.figures import MISSING, percent, total, whole
from parley_cli.watching.history import WINDOW_S
from parley_cli.watching.process_table import process_lines, upstream_line
from parley_cli.watching.view import Counts, LatencyView, View
from parley_cli.waterfall import BUDGET_MS, P95_GOAL_MS, axis, bars, milliseconds

_WIDEST = 120
_LABEL_CELLS = 12
_SECOND_COLUMN_CELLS = 24
_SECOND_COLUMN_AT_MOST = 60
_STAGE_CELLS = 22
_FIGURE_CELLS = 8
_SLOT_BAR_CELLS = 24
_LABELS_SHOWN_COUNT = 8
_LABEL_MAX_CELLS = 32


def draw(view: View, *, clock: str, width: int, height: int | None = None) -> list[Text]:
    """Lines of at most `width` cells, and of at most `height` where given: empty lines give way first. `clock`: the
    time of day, shown in the corner; empty in a snapshot.
    """
    wide = min(width, _WIDEST)
    sections = [
        [_title(view, clock, wide)],
        _activity(view, wide),
        _latency(view, wide),
        process_lines(view, wide),
        [upstream_line(view)],
    ]
    line_count = sum(map(len, sections))
    gap_count = len(sections) - 1 if height is None else max(0, height - line_count)
    lines: list[Text] = []
    for index, section in enumerate(sections):
        if 0 < index <= gap_count:
            lines.append(Text())
        lines += section
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _title(view: View, clock: str, width: int) -> Text:
    version = next((each.version for each in view.processes if each.version), None)
    title = Text.assemble(" ", ("Parley", "bold"), f" {printable(version)}" if version else "")
    if view.is_draining:
        title.append(f"  {message('top_draining')}", "yellow")
    corner = f"{message('top_keys')}   {clock}" if clock else ""
    return title.append(in_cells(corner, width - title.cell_len - 1, is_right=True), "dim")


def _activity(view: View, width: int) -> list[Text]:
    has_window = view.has_window
    second = min(width - _SECOND_COLUMN_CELLS, _SECOND_COLUMN_AT_MOST)
    heading = Text(" " + in_cells("", _LABEL_CELLS), "dim")
    if has_window:
        heading.append(in_cells(_last_minute(view), second - _LABEL_CELLS - 1))
    heading.append(message("top_since_start"))
    rows = [heading]
    named: tuple[tuple[str, Counts], ...] = (
        ("top_turns", view.turns),
        ("top_replies", view.replies),
        ("top_barge_ins", view.barge_ins),
        ("top_errors", view.errors),
    )
    for label, counts in named:
        row = Text(" " + in_cells(message(label), _LABEL_CELLS))
        style = "red" if label == "top_errors" else ""
        if has_window:
            recent = _labelled(counts.last_minute, counts.since_start, style)
            recent.truncate(second - _LABEL_CELLS - 2, overflow="ellipsis", pad=True)
            row.append(recent).append(" ").append(_numbers(counts.since_start))
        else:
            row.append(_labelled(counts.since_start, counts.since_start, style))
        rows.append(row)
    return [_sessions(view, width), *rows]


def _last_minute(view: View) -> str:
    """What the figures of the last minute really cover: less, when the watching has just begun."""
    seconds = round(view.window_s)
    return message("top_last_minute") if seconds >= WINDOW_S else message("top_last_seconds", seconds=seconds)


def _sessions(view: View, width: int) -> Text:
    refused = view.refused_sessions.last_minute if view.has_window else view.refused_sessions.since_start
    underruns = view.underruns.last_minute if view.has_window else view.underruns.since_start
    asides = Text()
    for label, figure in (
        ("top_refused", whole(total(refused))),
        ("top_heard", percent(view.heard_ratio_mean)),
        ("top_underruns", whole(total(underruns))),
    ):
        asides.append(f"   {message(label)} ", "dim").append(figure)
    row = Text(" " + in_cells(message("top_sessions"), _LABEL_CELLS))
    count, slots = view.session_count or 0.0, view.session_slot_count
    row.append(whole(view.session_count), "bold")
    if slots:
        row.append(f" {message('top_of')} {whole(slots)}  ")
        cells = max(0, min(_SLOT_BAR_CELLS, width - row.cell_len - asides.cell_len - 1))
        filled = min(cells, math.ceil(count / slots * cells))  # one session is to be seen, too
        row.append("█" * filled, "red" if count >= slots else "green").append("░" * (cells - filled), "dim")
    return row.append(asides)


def _labelled(shown: Mapping[str, float] | None, order: Mapping[str, float] | None, style: str) -> Text:
    if shown is None:
        return Text(MISSING)
    text = Text()
    for label in _ordered(order):
        name = printable(label)[:_LABEL_MAX_CELLS]
        count = shown.get(label, 0.0)
        text.append(" · " if text else "", "dim")
        # What does not happen should not catch the eye.
        text.append(f"{name} ", style if count else "dim").append(
            whole(count), f"bold {style}" if count else "dim"
        )
    return text if text else Text(message("top_none"), "dim")


def _numbers(counts: Mapping[str, float] | None) -> Text:
    numbers = [] if counts is None else [whole(counts[label]) for label in _ordered(counts)]
    return Text(" · ".join(numbers), "dim")


def _ordered(counts: Mapping[str, float] | None) -> list[str]:
    """What has happened, the most frequent first, so that what stands where changes seldom; bounded."""
    found = {label: count for label, count in (counts or {}).items() if count > 0}
    return sorted(found, key=lambda label: (-found[label], label))[:_LABELS_SHOWN_COUNT]


def _latency(view: View, width: int) -> list[Text]:
    latency = view.latency_last_minute or view.latency_since_start
    heading = Text.assemble(" ", (message("top_latency"), "bold"))
    if latency is None:
        is_told = view.session_count is not None
        return [heading, Text(f" {message('top_no_turn_yet') if is_told else MISSING}", "dim")]
    period = _last_minute(view) if view.latency_last_minute else message("top_since_start")
    heading.append("   p50 ").append(*_judged(latency.p50_ms, BUDGET_MS))
    heading.append("   p95 ").append(*_judged(latency.p95_ms, P95_GOAL_MS)).append("   ")
    heading.append(message("top_turns_in", count=latency.turn_count, period=period), "dim")
    return [heading, *_stage_lines(latency, width)]


def _stage_lines(latency: LatencyView, width: int) -> list[Text]:
    cells = width - _STAGE_CELLS - 2 * _FIGURE_CELLS - 5
    means_ms = [each.mean_ms for each in latency.stages]
    head = Text(" " + in_cells("", _STAGE_CELLS), "dim")
    for label in ("top_mean", "top_p95"):
        head.append(in_cells(message(label), _FIGURE_CELLS, is_right=True))
    lines = [
        head.append("   ").append(axis(means_ms, cells, message("top_budget", budget=f"{BUDGET_MS:.0f}")))
    ]
    for stage, bar in zip(latency.stages, bars(means_ms, cells), strict=True):
        line = Text(" " + in_cells(message(f"stage_{stage.stage}"), _STAGE_CELLS))
        line.append(in_cells(milliseconds(stage.mean_ms), _FIGURE_CELLS, is_right=True))
        line.append(in_cells(milliseconds(stage.p95_ms), _FIGURE_CELLS, is_right=True), "dim")
        lines.append(line.append("   ").append(bar))
    return lines


def _judged(value_ms: float, goal_ms: float) -> tuple[str, str]:
    return f"{value_ms:.0f} ms", "bold green" if value_ms <= goal_ms else "bold red"
