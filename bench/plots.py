"""A `Plot` as an SVG for light and dark pages: text and axes take the page's colour. Used by `report_page`."""

import io
import re
from collections.abc import Sequence
from typing import Any, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import PercentFormatter

from bench.scenario import Plot

# Distinct in both schemes and for people who see few colours.
_COLOURS = ("#2f80c9", "#d9772b", "#3c9a5f", "#9b6bc4", "#b8860b", "#c74f6b")
_LIGHT, _STRONG = "#9fc3e3", "#d9772b"
_INK = "#123456"  # stands for the page's colour until the SVG is written
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "parley",
    "font.family": "sans-serif",
    "font.size": 12,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def drawn(plot: Plot) -> str:
    """The picture as an `<svg>` element that fills its place's width."""
    with mpl.rc_context(_STYLE):
        height = 3.2 if plot.kind in ("cdf", "line") else 0.5 * len(plot.series) + 1.4
        picture = Picture(figsize=(6.6, height))
        axes = picture.add_subplot()
        _DRAW[plot.kind](axes, plot)
        _mark(axes, plot)
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label or ("share of measurements" if plot.kind == "cdf" else ""))
        written = io.StringIO()
        nothing = {"Date": None, "Creator": None}
        picture.savefig(written, format="svg", transparent=True, bbox_inches="tight", metadata=nothing)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head, end, rest = svg.partition(">")
    return re.sub(r' (width|height)="[^"]*"', "", head) + end + rest


def _draw_cdf(axes: Axes, plot: Plot) -> None:
    for colour, (name, points) in zip(_cycled(plot), plot.series.items(), strict=True):
        values = sorted(cast(Sequence[float], points))
        shares = [(index + 1) / len(values) for index in range(len(values))]
        axes.step(
            [values[0], *values],
            [0.0, *shares],
            where="post",
            color=colour,
            label=f"{name} (n={len(values)})",
        )
    if len({value for points in plot.series.values() for value in points}) == 1:
        axes.set_xlim(values[0] - 1, values[0] + 1)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(visible=True, color=_INK, alpha=0.12)
    _explain(axes)


def _draw_line(axes: Axes, plot: Plot) -> None:
    for colour, (name, points) in zip(_cycled(plot), plot.series.items(), strict=True):
        pairs = cast(Sequence[tuple[float, float]], points)
        axes.plot(
            [x for x, _ in pairs], [y for _, y in pairs], color=colour, marker="o", markersize=4, label=name
        )
    axes.set_ylim(0, 1.05 * max(axes.dataLim.y1, 1e-9))
    axes.set_xlim(left=0)
    axes.grid(visible=True, color=_INK, alpha=0.12)
    _explain(axes)


def _draw_rows(axes: Axes, plot: Plot) -> None:
    """Rows from the top; in a waterfall each begins where the one above it ended."""
    begins, seen = 0.0, dict[str, str]()
    palette = (_LIGHT, _STRONG, *_COLOURS[2:])
    for row, points in enumerate(plot.series.values()):
        left = begins if plot.kind == "waterfall" else 0.0
        for label, value in cast(Sequence[tuple[str, float]], points):
            known = label in seen
            colour = seen.setdefault(label, palette[len(seen) % len(palette)])
            axes.barh(row, value, left=left, color=colour, label="_" if known else label, height=0.62)
            left += value
        own = left - begins if plot.kind == "waterfall" else left
        axes.annotate(f"{own:,.3g}" if own < 100 else f"{own:,.0f}", (left, row), va="center", fontsize=10,
                      xytext=(4, 0), textcoords="offset points")  # fmt: skip
        begins = left
        axes.axhline(row + 0.5, color=_INK, alpha=0.08, linewidth=0.8)
    axes.set_yticks(range(len(plot.series)), list(plot.series))
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    if len(seen) > 1:
        _explain(axes)


def _explain(axes: Axes) -> None:
    """The legend, above what is drawn, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, columnspacing=1.5)


_DRAW = {"cdf": _draw_cdf, "line": _draw_line, "bars": _draw_rows, "waterfall": _draw_rows}


def _mark(axes: Axes, plot: Plot) -> None:
    for value, label in plot.x_marks:
        left, right = axes.get_xlim()
        axes.set_xlim(min(left, 0.88 * value), max(right, 1.12 * value))
        axes.axvline(value, color="#c74f6b", linestyle="--", linewidth=1.2)
        axes.annotate(label, (value, 0.0), xycoords=("data", "axes fraction"), rotation=90, fontsize=9,
                      xytext=(3, 4), textcoords="offset points", ha="left", va="bottom", color="#c74f6b")  # fmt: skip
    for value, label in plot.y_marks:
        axes.set_ylim(top=max(axes.get_ylim()[1], 1.12 * value))
        axes.axhline(value, color="#c74f6b", linestyle="--", linewidth=1.2)
        axes.annotate(label, (0.0, value), xycoords=("axes fraction", "data"), fontsize=9,
                      xytext=(4, 3), textcoords="offset points", va="bottom", color="#c74f6b")  # fmt: skip


def _cycled(plot: Plot) -> list[str]:
    return [_COLOURS[index % len(_COLOURS)] for index in range(len(plot.series))]
