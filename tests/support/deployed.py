"""What `deploy/` holds, read for tests: panels and their expressions, rules and alerts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARDS = {path.stem: path for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))}
RULE_FILES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
RULE_TEST_FILES = sorted((DEPLOY / "prometheus" / "tests").glob("*.test.yml"))

# What Grafana puts in their place when everything is chosen.
_VARIABLES = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$window": "5m",
    "$instance": ".*",
    "$job": ".*",
}


@dataclass(frozen=True)
class PanelQuery:
    """One expression of a panel, with variables put in."""

    dashboard: str
    panel: str
    expression: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}"


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard's JSON."""
    loaded: dict[str, Any] = json.loads(DASHBOARDS[name].read_text(encoding="utf-8"))
    return loaded


def panels(name: str) -> list[dict[str, Any]]:
    """The panels of a dashboard without the titles of its sections."""
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def panel_queries() -> list[PanelQuery]:
    """Every expression of every panel."""
    return [
        PanelQuery(name, panel["title"], with_variables(target["expr"]))
        for name in DASHBOARDS
        for panel in panels(name)
        for target in panel["targets"]
    ]


def variable_queries() -> list[tuple[str, str, str]]:
    """(dashboard, series, label) of every variable that is filled by `label_values(series, label)`."""
    found = []
    for name in DASHBOARDS:
        for variable in dashboard(name)["templating"]["list"]:
            if variable["type"] == "query":
                inside = variable["query"]["query"].removeprefix("label_values(").removesuffix(")")
                series, _, label = inside.rpartition(",")
                found.append((name, with_variables(series), label.strip()))
    return found


def with_variables(expression: str) -> str:
    """The expression as Prometheus gets it. Raises AssertionError for a variable that is not known here."""
    for variable, value in _VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, f"unknown variable in {expression}"
    return expression


def rules() -> Iterator[dict[str, Any]]:
    """Every rule of every file."""
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


def alerts() -> dict[str, dict[str, Any]]:
    """Alerting rules by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded_names() -> set[str]:
    """Names of the recording rules."""
    return {rule["record"] for rule in rules() if "record" in rule}
