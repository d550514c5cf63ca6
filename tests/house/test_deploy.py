"""What `deploy/` says about metrics, settings and panels is true, and a person can find their way in it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from parley_asr.settings import Settings as AsrSettings
from parley_gateway.settings import Settings as GatewaySettings
from parley_llm.settings import Settings as LlmSettings
from parley_servicekit.reasons import REASONS
from parley_tts.settings import Settings as TtsSettings
from support.declared_metrics import label_values, series_names
from support.deployed import (
    DASHBOARDS,
    DEPLOY,
    RULE_TEST_FILES,
    alerts,
    dashboard,
    panel_queries,
    panels,
    recorded_names,
    rules,
    variable_queries,
)
from support.promql import named_in

ROOT = Path(__file__).parents[2]
# What Prometheus itself adds.
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "ALERTS"}
# Labels that come from scraping, from recording rules and from Prometheus, not from our processes.
LABELS_OF_PROMETHEUS = {"job", "instance", "le", "alertname", "severity", "resource", "queue", "service"}
# kubectl keeps a whole ConfigMap in an annotation, and that has a limit.
CONFIG_MAP_MAX_BYTES = 256 * 1024
PORTS = {settings.process_name(): settings.model_fields["metrics_port"].default for settings in
         (GatewaySettings, AsrSettings, LlmSettings, TtsSettings)}  # fmt: skip


def expressions() -> list[str]:
    """Every expression in deploy/: panels, variables, rules."""
    return [
        *(query.expression for query in panel_queries()),
        *(series for _, series, _ in variable_queries()),
        *(str(rule["expr"]) for rule in rules()),
    ]


def test_every_metric_that_is_asked_for_exists() -> None:
    known = series_names() | recorded_names() | OF_PROMETHEUS
    for expression in expressions():
        assert named_in(expression).metrics <= known, expression


def test_every_label_value_that_is_asked_for_exists() -> None:
    values = label_values()
    for expression in expressions():
        for metric, label, value in named_in(expression).matchers:
            if metric.startswith("parley_"):
                assert value in values[metric, label], f"{metric} {label}={value}"


def test_every_label_that_is_grouped_by_exists() -> None:
    known = {label for _, label in label_values()} | LABELS_OF_PROMETHEUS | {"reason", "version"}
    for expression in expressions():
        assert named_in(expression).grouping <= known, expression


def test_every_recorded_figure_is_used_or_offered() -> None:
    used = {name for expression in expressions() for name in named_in(expression).metrics}
    readme = (DEPLOY / "README.md").read_text()
    for name in recorded_names() - used:
        figure = name.rpartition(":")
        assert f"`{figure[0]}:" in readme, name
        assert figure[2] in readme, name


def test_prometheus_scrapes_the_four_processes_at_their_default_ports() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    scraped = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert scraped == {f"parley-{name}": [f"{name}:{port}"] for name, port in PORTS.items()}


def test_the_promise_on_latency_is_a_bound_of_a_bucket() -> None:
    assert "1.2" in label_values()["parley_gateway_voice_to_voice_seconds_bucket", "le"]


def test_dashboards_are_what_their_source_says() -> None:
    command = [sys.executable, "-B", str(DEPLOY / "grafana" / "source" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_says_what_it_shows_and_in_which_unit(name: str) -> None:
    titles = [panel["title"] for panel in panels(name)]
    assert len(titles) == len(set(titles)), "two panels have the same title"
    for panel in panels(name):
        assert 3 <= len(panel["title"]) <= 40, panel["title"]
        assert 30 <= len(panel["description"]) <= 400, panel["title"]
        assert panel["targets"], panel["title"]
        if panel["type"] != "heatmap":
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_series_of_a_panel_with_several_has_a_name(name: str) -> None:
    for panel in panels(name):
        legends = [target["legendFormat"] for target in panel["targets"]]
        if panel["type"] in ("timeseries", "bargauge", "state-timeline"):
            assert "__auto" not in legends, panel["title"]
            assert len(legends) == len(set(legends)), panel["title"]
        ref_ids = [target["refId"] for target in panel["targets"]]
        assert len(ref_ids) == len(set(ref_ids))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_fill_the_width_and_do_not_lie_upon_each_other(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    everything = dashboard(name)["panels"]
    for panel in everything:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies upon {taken[x, y]}"
                taken[x, y] = panel["title"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in everything)
    assert len(taken) == 24 * height, "there is a hole"
    assert [panel["id"] for panel in everything] == list(range(1, len(everything) + 1))
    places = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in everything]
    assert places == sorted(places), "Grafana reads them in another order than people do"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_colours_by_name_are_names_of_series(name: str) -> None:
    """An override of a series that does not exist does nothing, silently."""
    for panel in panels(name):
        named = {target["legendFormat"] for target in panel["targets"]}
        columns = _columns(panel)
        for override in panel["fieldConfig"]["overrides"]:
            matched = override["matcher"]["options"]
            assert matched in named | columns | _values_of_labels(panel), f"{panel['title']}: {matched}"


def _columns(panel: dict[str, Any]) -> set[str]:
    return {
        title
        for transformation in panel.get("transformations", ())
        for title in transformation["options"].get("renameByName", {}).values()
    }


def _values_of_labels(panel: dict[str, Any]) -> set[str]:
    labels = {
        label for target in panel["targets"] for label in re.findall(r"{{(\w+)}}", target["legendFormat"])
    }
    metrics = {name for target in panel["targets"] for name in named_in(target["expr"]).metrics}
    values = label_values()
    return {value for metric in metrics for label in labels for value in values.get((metric, label), ())}


def test_latency_panels_show_single_turns_and_the_budget() -> None:
    [voice_to_voice] = [panel for panel in panels("people") if panel["title"] == "Voice to voice"]
    assert any(target.get("exemplar") for target in voice_to_voice["targets"])
    steps = voice_to_voice["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, 0.7, 1.2]


def test_errors_are_shown_in_words_and_only_such_as_exist() -> None:
    [errors] = [panel for panel in panels("people") if panel["title"] == "Errors in the time shown"]
    [override] = errors["fieldConfig"]["overrides"]
    [mapping] = override["properties"][0]["value"]
    assert set(mapping["options"]) <= REASONS


@pytest.mark.parametrize("path", DASHBOARDS.values(), ids=lambda path: path.name)
def test_a_dashboard_fits_into_a_config_map(path: Path) -> None:
    assert path.stat().st_size < CONFIG_MAP_MAX_BYTES


@pytest.mark.parametrize("name", sorted(alerts()))
def test_every_alert_says_what_it_is_and_what_to_do(name: str) -> None:
    alert = alerts()[name]
    assert name.startswith("Parley")
    assert alert["labels"]["severity"] in ("page", "ticket")
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook"}
    assert notes["runbook"] == f"docs/alerts.md#{name.lower()}"
    book = (ROOT / "docs" / "alerts.md").read_text()
    [text] = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", book, re.MULTILINE | re.DOTALL)
    assert text.startswith(f"**{alert['labels']['severity']}"), "its page says another severity"
    assert len(text) > 150


def test_the_book_of_alerts_knows_no_other_alerts_settings_or_panels() -> None:
    book = (ROOT / "docs" / "alerts.md").read_text()
    assert set(re.findall(r"^## (\w+)", book, re.MULTILINE)) == set(alerts())
    assert set(re.findall(r"\bParley[A-Z]\w+", book)) == set(alerts())
    every = (GatewaySettings, AsrSettings, LlmSettings, TtsSettings)
    variables = {settings.variable(field) for settings in every for field in settings.model_fields}
    assert set(re.findall(r"PARLEY_[A-Z0-9_]*[A-Z0-9]", book)) <= variables
    titles = {panel["title"].partition(" (")[0] for name in DASHBOARDS for panel in panels(name)}
    titles |= {dashboard(name)["title"] for name in DASHBOARDS}
    named = {" ".join(name.split()) for name in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", book)}
    assert named <= titles, named - titles


@pytest.mark.parametrize("name", sorted(alerts()))
def test_every_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    fires, is_quiet = False, False
    for path in RULE_TEST_FILES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for expected in case.get("alert_rule_test", ()):
                if expected["alertname"] == name:
                    fires |= bool(expected["exp_alerts"])
                    is_quiet |= (
                        not expected["exp_alerts"] and f"{name}" in case["name"] and "quiet" in case["name"]
                    )
            for expected in case.get("promql_expr_test", ()):
                if f'alertname="{name}"' in expected["expr"]:
                    fires |= bool(expected["exp_samples"])
    assert fires
    assert is_quiet


def test_missing_and_broken_weights_are_named(tmp_path: Path) -> None:
    script = DEPLOY / "gpt-sovits" / "check_weights"
    wanted = re.findall(r"^need (\d+) (\S+)$", script.read_text(), re.M)
    assert ("120", "pretrained_models/fast_langdetect/lid.176.bin") in wanted
    assert said_of_weights(script, tmp_path) == [f"{path} is missing" for _, path in wanted]
    for mebibytes, path in wanted:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
        # Holes: they take no room on the disk.
        os.truncate(tmp_path / path, int(mebibytes) << 20)
    assert said_of_weights(script, tmp_path) == []
    os.truncate(tmp_path / wanted[-1][1], 134)
    [said] = said_of_weights(script, tmp_path)
    assert said.startswith(f"{wanted[-1][1]} is too small")


def said_of_weights(script: Path, folder: Path) -> list[str]:
    """One entry for each file; the last line counts them."""
    command = ["bash", str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = [line.removeprefix("check_weights: ") for line in done.stderr.splitlines()]
    assert done.returncode == (1 if lines else 0)
    total = len(re.findall(r"^need \d", script.read_text(), re.M))
    *files, summary = lines or [f"0 of {total} files are missing"]
    assert summary.startswith(f"{len(files)} of {total} files are missing")
    return files
