"""docs/metrics.md says what the code declares, reasons are a closed list, and series are few by construction."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from parley_servicekit.reasons import OTHER, REASONS
from support.declared_metrics import PROCESSES, families, series_names

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text()
# Of a process in which nothing has happened yet: what it will have, but for reasons.
SERIES_MAX_COUNT = {"gateway": 250, "asr": 130, "llm": 120, "tts": 100}
LABELS = {"cause", "kind", "le", "method", "outcome", "reason", "service", "stage", "version"}
ANSWERS = {"fast", "full", "fails", "why", "people"}
EVERY_PROCESS = ("_build_info", "_errors_total", "_event_loop_lag_seconds")
DECLARING = {"metrics.py", "process_metrics.py", "queue_metrics.py"}
# Told otherwise than by a Fault's first argument.
REASONS_ELSEWHERE = {"DRAINING", "INTERNAL", "NOT_READY"}


def of_process(process: str) -> Iterator[Metric]:
    return (family for family in families() if family.name.startswith(f"parley_{process}_"))


def told_name(family: Metric) -> str:
    return family.name + ("_total" if family.type == "counter" else "")


def unit(family: Metric) -> str:
    if family.name.endswith("_seconds"):
        return "seconds"
    if family.name.endswith("_ratio"):
        return "ratio"
    if family.name.endswith("_per_second"):
        return "per second"
    return "0 or 1" if family.documentation.startswith(("1 ", "Always 1")) else "count"


def labels(family: Metric) -> str:
    values: dict[str, set[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            values.setdefault(label, set()).add(value)
    open_ended = {"reason": "a reason", "version": "a version"}
    told = [
        f"`{label}`: {open_ended.get(label) or ' '.join(sorted(found))}"
        for label, found in values.items()
        if label != "le"
    ]
    return "; ".join(told) or "–"


def row(family: Metric, name: str) -> str:
    """As it has to stand in the document, up to the question that it answers."""
    columns = (f"`{name}`", family.type, labels(family), unit(family), family.documentation)
    return "| " + " | ".join(columns)


def rows_in(section: str) -> list[str]:
    """The rows of a section's table, without their last column."""
    [text] = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert lines == sorted(lines), f"the metrics of {section} are not in order"
    return [line.removesuffix(" |").rpartition(" | ")[0] for line in lines]


def assert_same(section: str, written: Iterable[str], declared: Iterable[str]) -> None:
    written, declared = set(written), set(declared)
    assert not declared - written, f"write into docs/metrics.md, {section}: " + "\n".join(declared - written)
    assert not written - declared, f"in docs/metrics.md, {section}, and not in the code: {written - declared}"


@pytest.mark.parametrize("process", PROCESSES)
def test_the_document_tells_of_each_process_what_its_code_declares(process: str) -> None:
    own = [family for family in of_process(process) if not told_name(family).endswith(EVERY_PROCESS)]
    assert_same(process, rows_in(process), [row(family, told_name(family)) for family in own])


@pytest.mark.parametrize("process", PROCESSES)
def test_the_document_tells_what_every_process_declares(process: str) -> None:
    common = [family for family in of_process(process) if told_name(family).endswith(EVERY_PROCESS)]
    declared = [
        row(family, told_name(family).replace(f"parley_{process}_", "parley_<process>_")) for family in common
    ]
    assert_same("Every process", rows_in("Every process"), declared)


def test_every_row_says_which_question_it_answers() -> None:
    for line in DOCUMENT.splitlines():
        if line.startswith("| `"):
            assert set(line.removesuffix(" |").rpartition(" | ")[2].split(", ")) <= ANSWERS, line


def test_the_documents_queries_ask_for_what_there_is() -> None:
    blocks = "\n".join(line for line in DOCUMENT.splitlines() if line.startswith("    "))
    asked = set(re.findall(r"\bparley_[a-z_]+", blocks))
    assert asked
    assert asked <= series_names()


def test_the_document_lists_every_reason_once() -> None:
    listed = re.findall(r"`([A-Z][A-Z_]+)`", DOCUMENT.partition("## Labels")[2])
    assert sorted(listed) == sorted(REASONS | {OTHER})


def reasons_in(tree: ast.AST) -> Iterator[str]:
    """Reasons of faults in a module, as far as they stand in it."""
    constants = {
        node.targets[0].id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == "ErrorReason":
            yield from re.findall(
                r'= "([A-Z_]+)"', "\n".join(ast.unparse(each) for each in node.body).replace("'", '"')
            )
        if not (
            isinstance(node, ast.Call)
            and re.fullmatch(r"Fault(\.\w+)?", ast.unparse(node.func))
            and node.args
        ):
            continue
        match node.args[0]:
            case ast.Constant(value=str(reason)):
                yield reason
            case ast.Name(id=name) if name in constants:
                yield str(constants[name])
            case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=ending)]):
                yield from (f"{service}{ending}" for service in ("ASR", "LLM", "TTS"))


def test_every_reason_is_in_the_list_and_the_list_has_no_other() -> None:
    sources = [
        path for folder in ("libs", "gateway", "services") for path in (ROOT / folder).glob("**/src/**/*.py")
    ]
    found = {
        reason for path in sources for reason in reasons_in(ast.parse(path.read_text()))
    } | REASONS_ELSEWHERE
    assert not found - REASONS, f"add to parley_servicekit/reasons.py and docs/metrics.md: {found - REASONS}"
    assert not REASONS - found, f"nothing has these reasons any more: {REASONS - found}"


def test_metrics_are_declared_where_a_reader_looks_for_them() -> None:
    for path in ROOT.glob("[!.]*/**/src/**/*.py"):
        if path.name not in DECLARING:
            made = re.findall(r"\b(?:Counter|Gauge|Histogram|Summary|Info)\(\s*f?\"parley_", path.read_text())
            assert not made, f"{path} declares a metric"


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_has_few_series_and_shows_them_from_the_start(process: str) -> None:
    found = list(of_process(process))
    assert sum(len(family.samples) for family in found) <= SERIES_MAX_COUNT[process]
    for family in found:
        assert family.samples, f"{family.name} shows nothing before something happens: give its labels values"
        assert not [sample.name for sample in family.samples if sample.name.endswith("_created")]


@pytest.mark.parametrize("process", PROCESSES)
def test_labels_and_names_are_of_the_house(process: str) -> None:
    for family in of_process(process):
        assert {label for sample in family.samples for label in sample.labels} <= LABELS, family.name
        assert family.documentation.endswith("."), family.name
        if family.type == "histogram":
            bounds = [sample.labels["le"] for sample in family.samples if sample.name.endswith("_bucket")]
            assert bounds[-1] == "+Inf" and len(set(bounds)) <= 25, family.name
