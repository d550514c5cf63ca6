"""Compose itself takes every combination of files that is meant."""

import os
import subprocess

import pytest

from support.container_engine import ROOT

# compose.embedded.yaml is an alternative to compose.yaml, not a file on top of it.
COMBINATIONS = [["compose.yaml"], ["compose.embedded.yaml"], ["compose.yaml", "compose.gpu.yaml"]]


@pytest.mark.parametrize("files", COMBINATIONS, ids="+".join)
def test_every_combination_of_files_is_valid(files: list[str], engine_environment: dict[str, str]) -> None:
    command = ["docker", "compose", *(part for file in files for part in ("--file", file))]
    done = subprocess.run(
        [*command, "--env-file", os.devnull, "config", "--quiet"],
        cwd=ROOT, env=engine_environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
