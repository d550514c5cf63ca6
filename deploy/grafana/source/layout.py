"""A dashboard around its panels: sections from top to bottom, variables to choose by. Used by `people` and `operators`.

Panels flow from left to right over 24 columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from panels import DATASOURCE, Json

SCHEMA_VERSION = 39  # Grafana 11 reads it as it is, 12 and later migrate it when they load it
COLUMN_COUNT = 24


@dataclass(frozen=True)
class Section:
    """A row of a dashboard: a title and what is below it."""

    title: str
    panels: Sequence[Json]


def dashboard(
    uid: str,
    title: str,
    description: str,
    sections: Sequence[Section],
    variables: Sequence[Json],
    *,
    refresh: str,
    time_from: str,
) -> Json:
    """A whole dashboard; every panel gets its place and its number here."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["parley"],
        "editable": True,
        "graphTooltip": 1,  # one crosshair over all panels
        "links": [{"type": "dashboards", "tags": ["parley"], "title": "Parley", "asDropdown": False,
                   "keepTime": True, "includeVars": False, "targetBlank": False, "icon": "", "url": "", "tooltip": ""}],
        "liveNow": False,
        "panels": _laid_out(sections),
        "refresh": refresh,
        "schemaVersion": SCHEMA_VERSION,
        "templating": {"list": [_DATASOURCE_VARIABLE, *variables]},
        "time": {"from": time_from, "to": "now"},
        "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m", "5m"]},
        "timezone": "browser",
        "annotations": {"list": []},
        "version": 1,
    }  # fmt: skip


def label_variable(name: str, label: str, expression: str) -> Json:
    """A choice among values of a label, all of them by default. expression: `label_values(metric, label)`."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": expression, "refId": name},
        "refresh": 2,  # whenever the time range changes: replicas come and go
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def window_variable(default: str) -> Json:
    """Over how long rates and percentiles are taken."""
    choices = ["1m", "5m", "15m", "1h"]
    return {
        "name": "window",
        "label": "Over",
        "description": "How much time each point of a curve looks back on. Longer is smoother, shorter is quicker.",
        "type": "custom",
        "query": ",".join(choices),
        "options": [{"text": each, "value": each, "selected": each == default} for each in choices],
        "current": {"text": default, "value": default},
        "multi": False,
        "includeAll": False,
    }


_DATASOURCE_VARIABLE = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "refresh": 1,
    "multi": False,
    "includeAll": False,
    "current": {},
}


def _laid_out(sections: Sequence[Section]) -> list[Json]:
    placed: list[Json] = []
    top = 0
    for section in sections:
        header: Json = {"type": "row", "title": section.title, "collapsed": False, "panels": []}
        placed.append(
            {"id": len(placed) + 1, **header, "gridPos": {"x": 0, "y": top, "w": COLUMN_COUNT, "h": 1}}
        )
        top, left, height = top + 1, 0, 0
        for panel in section.panels:
            size = panel["gridPos"]
            if left + size["w"] > COLUMN_COUNT:
                top, left, height = top + height, 0, 0
            placed.append({"id": len(placed) + 1, **panel, "gridPos": {"x": left, "y": top, **size}})
            left, height = left + size["w"], max(height, size["h"])
        top += height
    return placed
