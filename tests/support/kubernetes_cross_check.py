"""What no schema sees: whether rendered Kubernetes resources fit each other and the processes that they start."""

import re

import yaml

from support.kubernetes_network_rules import network_problems
from support.kubernetes_objects import Resources
from support.kubernetes_pod_rules import pod_problems
from support.kubernetes_reference_rules import reference_problems
from support.kubernetes_settings_rules import settings_problems
from support.kubernetes_tools import ROOT, Resource

_FOLDERS = {
    "gateway": "gateway",
    "asr": "services/asr",
    "llm": "services/llm",
    "tts": "services/tts",
    "cli": "clients/cli",
}
_OTHER_IMAGES = {"ollama/ollama", "redis", "vllm/vllm-openai", "xxxxrt666/gpt-sovits"}


def problems(resources: list[Resource]) -> list[str]:
    """One line for each mistake, empty where everything fits."""
    found = Resources(resources)
    return [
        *reference_problems(found),
        *pod_problems(found, image_tags()),
        *settings_problems(found),
        *network_problems(found),
    ]


def image_tags() -> dict[str, str]:
    """Our images have the version of their process; the others the tag that Compose starts, where it starts them."""
    tags = {f"parley-{name}": _version(name) for name in _FOLDERS}
    for path in sorted((ROOT / "k8s").rglob("kustomization.yaml")):
        for image in yaml.safe_load(path.read_text(encoding="utf-8")).get("images") or []:
            if image["name"] in _OTHER_IMAGES:
                tags[image["name"]] = image["newTag"]
    for path in sorted(ROOT.glob("compose*.yaml")):
        for name, tag in re.findall(
            r"^\s+image: ([\w./-]+):([\w.-]+)$", path.read_text(encoding="utf-8"), re.M
        ):
            if name in _OTHER_IMAGES:
                tags[name] = tag
    return tags


def _version(name: str) -> str:
    text = (ROOT / _FOLDERS[name] / "pyproject.toml").read_text(encoding="utf-8")
    matched = re.search(r'^version = "([^"]+)"', text, re.M)
    assert matched is not None, f"{name} has no version"
    return matched[1]
