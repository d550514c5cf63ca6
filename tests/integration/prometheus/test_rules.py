"""promtool on all that Prometheus will be told: configuration, rules, cases of the alerts, expressions of panels."""

from pathlib import Path

import pytest
import yaml

from support.deployed import DEPLOY, RULE_FILES, RULE_TEST_FILES, panel_queries, variable_queries
from support.prometheus_server import promtool

pytestmark = pytest.mark.usefixtures("has_prometheus")


def test_the_configuration_is_valid() -> None:
    promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")


def test_rules_are_valid_and_none_is_there_twice() -> None:
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    assert "duplicate" not in said


@pytest.mark.parametrize("path", RULE_TEST_FILES, ids=lambda path: path.name)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    promtool("test", "rules", path)


def test_every_expression_of_every_panel_is_valid(tmp_path: Path) -> None:
    expressions = [query.expression for query in panel_queries()]
    expressions += [f"count({series})" for _, series, _ in variable_queries()]
    rules = [
        {"record": f"panel:query:{index}", "expr": expression} for index, expression in enumerate(expressions)
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    said = promtool("check", "rules", path)
    assert f"{len(expressions)} rules found" in said
