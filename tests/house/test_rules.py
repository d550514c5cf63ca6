"""The rules of the house that no linter knows."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE_MAX_LINES = 400
PROTO_MAX_LINES = 250
FILE_MAX_BYTES = 12 * 1024 * 1024
REPOSITORY_MAX_BYTES = 60 * 1024 * 1024
FORBIDDEN_WORDS = ("Manager", "Helper", "Util", "Handler", "Impl", "Data", "Info")
# Names that others chose: gRPC calls its handlers so.
FORBIDDEN_WORDS_ALLOWED = {"GenericRpcHandler"}


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def sources() -> list[Path]:
    return [path for path in tracked("*.py") if "protos/gen" not in path.as_posix()]


def product_sources() -> list[Path]:
    return [path for path in sources() if "/src/" in path.as_posix()]


def test_no_module_is_longer_than_a_person_wants_to_read() -> None:
    long = [path for path in sources() if len(path.read_text().splitlines()) > MODULE_MAX_LINES]
    assert not long


def test_no_proto_is_longer_than_a_person_wants_to_read_and_each_has_at_most_one_service() -> None:
    for path in tracked("*.proto"):
        text = path.read_text()
        assert len(text.splitlines()) <= PROTO_MAX_LINES, path
        assert len(re.findall(r"^service ", text, re.MULTILINE)) <= 1, path


def test_every_module_says_what_it_is() -> None:
    silent = [
        path
        for path in sources()
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not [path for path in silent if path.name not in ("conftest.py", "__init__.py")]


def test_no_class_has_a_name_that_says_nothing() -> None:
    for path in product_sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name not in FORBIDDEN_WORDS_ALLOWED:
                assert not node.name.endswith(FORBIDDEN_WORDS), f"{path}: {node.name}"


def test_tasks_are_only_made_in_task_groups() -> None:
    for path in product_sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and node.attr == "create_task"
                and isinstance(node.value, ast.Name)
            ):
                assert node.value.id not in ("loop", "asyncio"), f"{path}:{node.lineno}"


def test_no_file_and_not_the_whole_is_too_large() -> None:
    sizes = {path: path.stat().st_size for path in tracked()}
    assert not [path for path, size in sizes.items() if size > FILE_MAX_BYTES]
    assert sum(sizes.values()) < REPOSITORY_MAX_BYTES


def test_the_lock_names_no_host_and_no_path() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "file:" not in lock
    assert "-e " not in lock


def test_the_lock_is_the_only_one() -> None:
    assert not [path for path in tracked() if path.name in ("uv.lock", "poetry.lock", "package-lock.json")]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("[!.]*/**/pyproject.toml")), ids=lambda path: path.parent.name
)
def test_every_distribution_supports_the_same_pythons(path: Path) -> None:
    project = tomllib.loads(path.read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"


def test_only_bootstrap_names_concrete_adapters() -> None:
    for path in (ROOT / "gateway" / "src").rglob("*.py"):
        if path.name == "bootstrap.py" or "adapters" in path.parts:
            continue
        assert "parley_gateway.adapters" not in path.read_text(), path
