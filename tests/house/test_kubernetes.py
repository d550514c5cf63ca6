"""k8s/ renders, is valid in three versions of Kubernetes, and fits itself, the processes and what deploy/ says."""

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from support.declared_metrics import label_values
from support.deployed import DEPLOY, RULE_FILES
from support.kubernetes_cross_check import image_tags, problems
from support.kubernetes_objects import Resources
from support.kubernetes_pod_rules import pod_problems
from support.kubernetes_reference_rules import SECRET_KEYS
from support.kubernetes_tools import K8S, ROOT, NoKubectlError, kubectl_program, rendered, resources

# The oldest that k8s/ needs, one between, and the newest that the validator knows.
KUBERNETES_VERSIONS = ("1.30", "1.34", "1.37")
# Of the Prometheus Operator; no schema of Kubernetes has them.
OF_THE_OPERATOR = {"ServiceMonitor", "PrometheusRule"}
FOUNDATIONS = ("base", "overlays/cpu", "overlays/gpu")
# asr-cuda and external-redis go with everything, monitoring too; vllm takes Ollama's place.
COMBINATIONS = [
    *[(foundation,) for foundation in FOUNDATIONS],
    *[(foundation, "components/monitoring", "components/external-redis") for foundation in FOUNDATIONS],
    *[(foundation, "components/vllm") for foundation in FOUNDATIONS],
    ("base", "components/ollama", "components/gpt-sovits"),
    ("base", "components/asr-sherpa", "components/tts-sherpa"),
    ("base", "components/gpt-sovits", "components/vllm", "components/asr-cuda"),
    (
        "overlays/gpu",
        "components/asr-cuda",
        "components/vllm",
        "components/external-redis",
        "components/monitoring",
    ),
]


@pytest.fixture(autouse=True)
def _kubectl() -> None:
    try:
        kubectl_program()
    except NoKubectlError as error:
        if error.is_mistake:
            raise
        pytest.skip(f"k8s/ cannot be rendered: {error}")


def name_of(combination: tuple[str, ...]) -> str:
    return "+".join(folder.rpartition("/")[2] for folder in combination)


def test_every_overlay_and_component_is_in_a_combination() -> None:
    folders = {str(path.parent.relative_to(K8S)) for path in K8S.rglob("kustomization.yaml")}
    assert folders == {folder for combination in COMBINATIONS for folder in combination}


@pytest.mark.parametrize("combination", COMBINATIONS, ids=name_of)
def test_everything_fits(combination: tuple[str, ...]) -> None:
    assert problems(resources(*combination)) == []


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_resource_is_valid(version: str) -> None:
    seen = set()
    for combination in COMBINATIONS:
        for text in rendered(*combination).split("\n---\n"):
            if text in seen:
                continue
            seen.add(text)
            resource = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            if resource["kind"] not in OF_THE_OPERATOR:
                kubernetes_validate.validate(resource, version, strict=True)
    assert len(seen) > 50


def test_validation_refuses_what_is_misspelt() -> None:
    deployment = next(each for each in resources("base") if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 5
    for version in KUBERNETES_VERSIONS:
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, version, strict=True)


def test_the_jobs_have_the_names_that_rules_and_dashboards_rely_on() -> None:
    found = resources("base", "components/monitoring")
    services = {each["metadata"]["name"]: each for each in found if each["kind"] == "Service"}
    monitors = [each for each in found if each["kind"] == "ServiceMonitor"]
    jobs = set()
    for monitor in monitors:
        service = services[monitor["metadata"]["name"]]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        jobs.add(service["metadata"]["labels"][monitor["spec"]["jobLabel"]])
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert jobs == {job["job_name"] for job in config["scrape_configs"]}
    for monitor in monitors:
        for endpoint in monitor["spec"]["endpoints"]:
            scraped = {"interval": endpoint["interval"], "scrapeTimeout": endpoint["scrapeTimeout"]}
            assert scraped == {
                "interval": config["global"]["scrape_interval"],
                "scrapeTimeout": config["global"]["scrape_timeout"],
            }


def test_labels_of_the_operator_hide_none_of_ours() -> None:
    added = {"namespace", "pod", "container", "endpoint", "service", "job", "instance"}
    ours = {label for _, label in label_values()}
    monitors = [
        each for each in resources("base", "components/monitoring") if each["kind"] == "ServiceMonitor"
    ]
    for monitor in monitors:
        for endpoint in monitor["spec"]["endpoints"]:
            dropped = {rule["regex"] for rule in endpoint["relabelings"] if rule["action"] == "labeldrop"}
            assert not (added - dropped) & ours


def test_rules_and_dashboards_are_those_of_deploy() -> None:
    command = [sys.executable, "-B", str(K8S / "components" / "monitoring" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = resources("base", "components/monitoring")
    groups = [group for each in found if each["kind"] == "PrometheusRule" for group in each["spec"]["groups"]]
    deployed = [group for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"]]
    assert {group["name"]: group for group in groups} == {group["name"]: group for group in deployed}
    assert len(groups) == len(deployed)
    [dashboards] = [each for each in found if each["metadata"]["name"] == "parley-dashboards"]
    files = {path.name: path.read_text() for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")}
    assert dashboards["data"] == files


@pytest.mark.parametrize(("name", "folder"), [("redis-config", "redis"), ("gpt-sovits", "gpt-sovits")])
def test_containers_start_with_the_files_of_deploy(name: str, folder: str) -> None:
    found = resources("overlays/gpu")
    [config] = [each for each in found if re.fullmatch(f"{name}-[a-z0-9]{{10}}", each["metadata"]["name"])]
    files = [path for path in (DEPLOY / folder).iterdir() if path.name != "kustomization.yaml"]
    assert config["data"] == {path.name: path.read_text() for path in files}


def test_models_are_pulled_that_the_catalogue_has() -> None:
    text = (ROOT / "clients/cli/src/parley_cli/pulling/catalogue.toml").read_text()
    known = {model["name"] for model in tomllib.loads(text)["models"]}
    pulled = set()
    for each in resources("overlays/cpu"):
        if each["kind"] == "Deployment":
            for container in each["spec"]["template"]["spec"].get("initContainers") or []:
                assert container["args"][:4] == ["models", "pull", "--folder", "/models"]
                pulled |= set(container["args"][4:])
    assert {"zipformer-zh-en", "silero-vad", "melo-zh-en"} == pulled <= known


def test_the_readme_says_how_secrets_are_made_and_nothing_holds_one() -> None:
    readme = (K8S / "README.md").read_text()
    for name, keys in SECRET_KEYS.items():
        assert f"secret generic {name}" in readme
        for key in keys:
            assert f"--from-literal={key}=" in readme
    for combination in COMBINATIONS:
        assert "\nkind: Secret\n" not in rendered(*combination)


def test_the_readme_names_every_overlay_and_component() -> None:
    readme = (K8S / "README.md").read_text()
    for path in [*(K8S / "overlays").iterdir(), *(K8S / "components").iterdir()]:
        assert f"`{path.relative_to(K8S)}`" in readme


def test_the_pod_that_fills_the_volume_fits_namespace_and_claim() -> None:
    pod = yaml.safe_load((K8S / "components" / "gpt-sovits" / "fill-weights.yaml").read_text())
    for version in KUBERNETES_VERSIONS:
        kubernetes_validate.validate(pod, version, strict=True)
    found = Resources(resources("overlays/gpu"))
    [volume] = pod["spec"]["volumes"]
    claim = found.named("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    assert claim is not None and claim["metadata"]["namespace"] == pod["metadata"]["namespace"]
    [tts] = [each.pod for each in found.workloads if each.name == "Deployment tts"]
    for key in ("nodeSelector", "tolerations"):
        assert pod["spec"][key] == tts[key]
    as_job = {"kind": "Job", "metadata": pod["metadata"], "spec": {"template": pod}}
    # It goes to a node with a GPU, and takes none.
    of_the_gpu = "Job fill-weights: a GPU, its toleration and its node selector go together"
    assert list(pod_problems(Resources([as_job]), image_tags())) == [of_the_gpu]


@pytest.mark.parametrize(("overlay", "left_out"), [("cpu", "without-root"), ("gpu", "claimName")])
def test_what_the_readme_says_to_patch_has_its_effect(tmp_path: Path, overlay: str, left_out: str) -> None:
    """All of its YAML in one kustomization, but what is for the other overlay."""
    blocks = re.findall(r"^ *```yaml\n(.*?)^ *```$", (K8S / "README.md").read_text(), re.M | re.S)
    merged: dict[str, Any] = {}
    for block in blocks:
        for key, value in yaml.safe_load(textwrap.dedent(block)).items() if left_out not in block else ():
            merged[key] = [*merged.get(key, []), *value] if isinstance(value, list) else value
    text = yaml.safe_dump(merged).replace("overlays/cpu", f"overlays/{overlay}")
    root = os.path.relpath(ROOT, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(text.replace("../parley/", f"{root}/"))
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(claim))
    command = [str(kubectl_program()), "kustomize", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "image: registry.example/parley-asr:" in done.stdout and "image: parley-" not in done.stdout
    found = Resources(list(yaml.safe_load_all(done.stdout)))
    workloads = {each.bare_name: each for each in found.workloads}
    for name in ("llm", "ollama-pull"):
        [container] = workloads[name].containers
        assert "gemma3:4b" in found.environment(container).values.values()
    if overlay == "cpu":
        for name in ("asr", "tts"):
            volumes = [each for each in workloads[name].pod["volumes"] if each["name"] == "models"]
            assert volumes == [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
    else:
        [namespace] = found.of("Namespace")
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        [sidecar] = workloads["tts"].pod["initContainers"]
        assert sidecar["image"] == "registry.example/gpt-sovits:without-root"
        assert sidecar["securityContext"]["runAsUser"] == 10001
        assert sidecar["securityContext"]["runAsNonRoot"] is True
