"""`kubectl` for tests, and what it makes of the kustomizations in k8s/.

`KUBECTL` (a path), else an installed one, else Debian's package, as far as it knows components (kustomize 4 or later;
Debian 12's does not).
"""

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from support.debian_package import unpacked_program

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
_TIMEOUT_S = 60.0

# What a test works on: every resource as Python's own types.
Resource = dict[str, Any]


class NoKubectlError(Exception):
    """No kubectl can be had here, and why. is_mistake: somebody named one, and it is none."""

    def __init__(self, reason: str, *, is_mistake: bool = False) -> None:
        super().__init__(reason)
        self.is_mistake = is_mistake


@functools.cache
def kubectl_program() -> Path:
    """Path of a `kubectl` whose kustomize knows components. Raises NoKubectlError."""
    if (named := os.environ.get("KUBECTL")) is not None:
        program = Path(named)
        if not os.access(program, os.X_OK) or not _knows_components(program):
            raise NoKubectlError(
                "the variable KUBECTL names no kubectl with kustomize 4 or later", is_mistake=True
            )
        return program
    installed = shutil.which("kubectl")
    if installed is not None and _knows_components(Path(installed)):
        return Path(installed)
    packaged = unpacked_program("kubernetes-client", "kubectl")
    if packaged is not None and _knows_components(packaged):
        return packaged
    raise NoKubectlError(
        "no kubectl with kustomize 4 or later is installed, and Debian's package is not there or too old; the variable"
        " KUBECTL may name one"
    )


@functools.cache
def rendered(*folders: str) -> str:
    """What `kubectl kustomize` makes of the first folder below k8s/ with the others as components on top.

    Raises AssertionError with kubectl's words when it fails.
    """
    if len(folders) == 1:
        return _kustomize(K8S / folders[0])
    with tempfile.TemporaryDirectory() as name:
        overlay_folder = Path(name).resolve()
        # kustomize takes no absolute paths.
        first, *components = [os.path.relpath(K8S / folder, overlay_folder) for folder in folders]
        overlay = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "parley",
            "resources": [first],
            "components": components,
        }
        (overlay_folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        return _kustomize(overlay_folder)


def resources(*folders: str) -> list[Resource]:
    """`rendered`, parsed anew, so that a test may change it."""
    return [each for each in yaml.load_all(rendered(*folders), Loader=_Loader) if each]


def _kustomize(folder: Path) -> str:
    command = [str(kubectl_program()), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    assert done.returncode == 0, f"kubectl kustomize {folder.name} failed:\n{done.stderr}"
    return done.stdout


def _knows_components(program: Path) -> bool:
    command = [str(program), "version", "--client", "-o", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        version = json.loads(done.stdout).get("kustomizeVersion", "")
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
    number = re.match(r"v(\d+)\.", version)
    return number is not None and int(number[1]) >= 4


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
