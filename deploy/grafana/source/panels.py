"""The few kinds of Grafana panels that Parley's dashboards are made of, for `people` and `operators`.

What Grafana would take from its defaults is left out, so that the JSON stays readable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

GREEN, YELLOW, RED, BLUE, PURPLE, ORANGE, GREY = (
    "green",
    "yellow",
    "red",
    "blue",
    "purple",
    "orange",
    "text",
)


@dataclass(frozen=True)
class Query:
    """One PromQL expression and what its series are called. `with_exemplars`: show the turns behind it as points."""

    expression: str
    legend: str = ""
    with_exemplars: bool = False


@dataclass(frozen=True)
class Scale:
    """How values are shown. unit: Grafana's name of it. thresholds: `limits`. mappings: `words`."""

    unit: str
    thresholds: Json | None = None
    decimals: int | None = None
    maximum: float | None = None
    mappings: Sequence[Json] = ()

    def defaults(self) -> Json:
        """What a panel says about all of its series."""
        told: Json = {
            "unit": self.unit,
            "color": {"mode": "thresholds"},
            "thresholds": self.thresholds or limits(),
            "min": 0,
        }
        optional = {"decimals": self.decimals, "max": self.maximum, "mappings": list(self.mappings) or None}
        return told | {name: value for name, value in optional.items() if value is not None}


def newly_counted(label: str, series: str, window: str) -> str:
    """PromQL: how much counters rose within `window`, by `label`; those that did not rise are left out.

    For counters whose series begin with the first event: `increase` sees no rise in a series that begins at 1, so what
    was not there a window ago counts as a whole.
    """
    rise = f"({series} unless {series} offset {window}) or increase({series}[{window}])"
    return f"round(sum by ({label}) ({rise})) > 0"


def limits(*steps: tuple[float, str], base: str = GREEN) -> Json:
    """Colours by value: `base` below the first step, then each step's colour from its value on."""
    return {
        "mode": "absolute",
        "steps": [
            {"color": base, "value": None},
            *({"color": color, "value": value} for value, color in steps),
        ],
    }


def words(names: dict[str, tuple[str, str]]) -> list[Json]:
    """Values shown as words: value -> (text, colour)."""
    options = {
        value: {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(names.items())
    }
    return [{"type": "value", "options": options}]


def color(name: str, value: str) -> Json:
    """One series in a colour of its own, so that it has the same one everywhere."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": value}}],
    }


def unit(name: str, value: str) -> Json:
    """One series in a unit of its own, on an axis at the right."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": "unit", "value": value}, {"id": "custom.axisPlacement", "value": "right"}],
    }


def cells(column: str, mappings: Sequence[Json]) -> Json:
    """A table's column whose values are shown as coloured words."""
    return {
        "matcher": {"id": "byName", "options": column},
        "properties": [
            {"id": "mappings", "value": list(mappings)},
            {"id": "custom.cellOptions", "value": {"type": "color-text"}},
        ],
    }


def stat(
    title: str,
    description: str,
    query: Query,
    *,
    scale: Scale,
    size: tuple[int, int] = (4, 4),
    no_value: str = "none yet",
    has_graph: bool = True,
) -> Json:
    """One figure, coloured by its limits."""
    defaults = scale.defaults() | {"noValue": no_value}
    options = {
        "colorMode": "background" if scale.mappings else "value",
        "graphMode": "area" if has_graph else "none",
        "textMode": "value_and_name" if query.legend else "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return _panel("stat", title, description, [query], defaults, options, size, is_instant=not has_graph)


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    scale: Scale,
    is_stacked: bool = False,
    size: tuple[int, int] = (12, 8),
    overrides: Sequence[Json] = (),
) -> Json:
    """Figures over time. Limits are drawn as dashed lines; stacked ones are filled."""
    custom: Json = {
        "drawStyle": "line",
        "fillOpacity": 60 if is_stacked else 8,
        "lineWidth": 1 if is_stacked else 2,
        "showPoints": "auto",
        # Between two turns there is nothing to show; up to ten minutes of that do not break the line.
        "spanNulls": 600_000,
        "stacking": {"mode": "normal" if is_stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off" if scale.thresholds is None else "dashed"},
    }
    defaults = scale.defaults() | {"custom": custom, "color": {"mode": "palette-classic"}}
    options = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "none" if is_stacked else "desc"},
    }
    panel = _panel("timeseries", title, description, queries, defaults, options, size)
    panel["fieldConfig"]["overrides"] = list(overrides)
    return panel


def bars(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    scale: Scale,
    size: tuple[int, int] = (12, 8),
) -> Json:
    """One bar for each series, in the order of the queries."""
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "valueMode": "text",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return _panel("bargauge", title, description, queries, scale.defaults(), options, size, is_instant=True)


def timeline(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    scale: Scale,
    size: tuple[int, int] = (12, 8),
) -> Json:
    """A row for each series, coloured by its state at each moment. scale: with words for the states."""
    options = {"mergeValues": True, "showValue": "never", "rowHeight": 0.9, "alignValue": "left"}
    options |= {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": False}}
    return _panel("state-timeline", title, description, queries, scale.defaults(), options, size)


def table(
    title: str,
    description: str,
    query: Query,
    *,
    columns: dict[str, str],
    size: tuple[int, int] = (12, 8),
    overrides: Sequence[Json] = (),
) -> Json:
    """The series as rows: `columns` are labels, and `Value`, with the titles that they get; others are hidden."""
    defaults = Scale("short", decimals=0).defaults()
    panel = _panel(
        "table", title, description, [query], defaults, {"showHeader": True}, size, is_instant=True
    )
    panel["fieldConfig"]["overrides"] = list(overrides)
    panel["targets"][0]["format"] = "table"
    panel["transformations"] = [
        {"id": "filterFieldsByName", "options": {"include": {"names": list(columns)}}},
        {
            "id": "organize",
            "options": {
                "indexByName": {name: index for index, name in enumerate(columns)},
                "renameByName": columns,
            },
        },
    ]
    return panel


def heatmap(title: str, description: str, query: Query, *, size: tuple[int, int] = (12, 8)) -> Json:
    """How often which latency occurred. query: an increase by `le`."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange"},
        "filterValues": {"le": 1e-9},
        "rowsFrame": {"layout": "auto", "value": "turns"},
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "unit": "s"},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "legend": {"show": True},
    }
    panel = _panel("heatmap", title, description, [query], {"custom": {}}, options, size)
    panel["targets"][0]["format"] = "heatmap"
    return panel


def _panel(
    kind: str,
    title: str,
    description: str,
    queries: Sequence[Query],
    defaults: Json,
    options: Json,
    size: tuple[int, int],
    *,
    is_instant: bool = False,
) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [_target(index, query, is_instant) for index, query in enumerate(queries)],
        "gridPos": {"w": size[0], "h": size[1]},
    }


def _target(index: int, query: Query, is_instant: bool) -> Json:
    target: Json = {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "range": not is_instant,
        "instant": is_instant,
    }
    if query.with_exemplars:
        target["exemplar"] = True
    return target
