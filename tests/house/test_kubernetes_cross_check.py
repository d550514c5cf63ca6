"""The cross-check of Kubernetes resources sees the mistakes that it is there for: each is made once, on purpose."""

import functools
import re
from typing import Any

import pytest

from support.kubernetes_cross_check import problems
from support.kubernetes_objects import addresses, quantity
from support.kubernetes_tools import NoKubectlError, Resource, kubectl_program, resources

BASE = ("base",)
CPU = ("overlays/cpu",)
GPU = ("overlays/gpu",)
VLLM = ("base", "components/vllm")
MONITORED = ("base", "components/monitoring")
REMOVED = object()
NAME_LABEL = "app.kubernetes.io~1name"
POD = "spec/template/spec"
MAIN = f"{POD}/containers/0"

# (on top of what, kind and name, where, what stands there by mistake, what has to be said about it)
REFERENCES = [
    (GPU, "Deployment tts", "spec/replicas", REMOVED, "has neither replicas nor an autoscaler"),
    (CPU, "PodDisruptionBudget asr", "apiVersion", "policy/v1beta1", "policy/v1beta1 is not the version"),
    (CPU, "HorizontalPodAutoscaler asr", "apiVersion", "autoscaling/v2beta2", "autoscaling/v2beta2 is not"),
    (CPU, "Service llm", "metadata/namespace", "default", "Service llm is not in the namespace"),
    (CPU, "Service llm", "metadata/name", "asr", "Service asr is there twice"),
    (
        CPU,
        "Deployment asr",
        f"spec/template/metadata/labels/{NAME_LABEL}",
        "asr",
        "does not choose its own Pods",
    ),
    (CPU, "Deployment asr", f"{POD}/serviceAccountName", "nobody", "the ServiceAccount is missing"),
    (
        CPU,
        "Deployment asr",
        f"{POD}/topologySpreadConstraints/0/labelSelector/matchLabels/{NAME_LABEL}",
        "parley-tts",
        "topologySpreadConstraints choose other Pods",
    ),
    (CPU, "StatefulSet redis", "spec/serviceName", "cache", "serviceName cache is no headless Service"),
    (CPU, "Service redis", "spec/clusterIP", REMOVED, "serviceName redis is no headless Service"),
    (CPU, "StatefulSet redis", f"{POD}/volumes/0/configMap/name", "gone", "names no ConfigMap: gone"),
    (CPU, "StatefulSet redis", f"{MAIN}/volumeMounts/0/name", "disk", "disk is mounted and not there"),
    (BASE, "Deployment tts", f"{MAIN}/volumeMounts", [], "tmp is mounted by nobody"),
    (
        GPU,
        "PersistentVolumeClaim gpt-sovits-weights",
        "metadata/name",
        "weights",
        "names no claim: gpt-sovits-weights",
    ),
    (CPU, "Deployment asr", f"{MAIN}/envFrom/0/configMapRef/name", "asr", "names no ConfigMap: asr"),
    (CPU, "Job ollama-pull", f"{MAIN}/env/2/valueFrom/configMapKeyRef/key", "MODEL", "with the key MODEL"),
    (
        CPU,
        "Deployment gateway",
        f"{MAIN}/env/0/valueFrom/secretKeyRef/key",
        "pass",
        "key pass is documented nowhere",
    ),
    (CPU, "Deployment gateway", f"{MAIN}/env/0/name", "SECRET", "$(REDIS_PASSWORD) is no variable before it"),
    (CPU, "Service asr", f"spec/selector/{NAME_LABEL}", "asr", "selects 0 workloads"),
    (
        CPU,
        "Service asr",
        "spec/ports/0/targetPort",
        "rpc",
        "leads to rpc, which Deployment asr does not have",
    ),
    (CPU, "Service asr", "spec/ports/0/port", 80, "another number than the container's"),
    (CPU, "PodDisruptionBudget tts", f"spec/selector/matchLabels/{NAME_LABEL}", "tts", "chooses 0 workloads"),
    (CPU, "PodDisruptionBudget tts", "spec/maxUnavailable", 0, "lets no Pod be moved"),
    (CPU, "HorizontalPodAutoscaler tts", "spec/scaleTargetRef/name", "voice", "there is no Deployment voice"),
    (
        CPU,
        "HorizontalPodAutoscaler tts",
        "spec/scaleTargetRef/apiVersion",
        "apps/v1beta1",
        "not the version of tts",
    ),
    (CPU, "HorizontalPodAutoscaler tts", "spec/minReplicas", 20, "minReplicas is above"),
    (
        CPU,
        "HorizontalPodAutoscaler tts",
        "spec/metrics/0/containerResource/container",
        "main",
        "no container main",
    ),
    (CPU, "Deployment tts", "spec/replicas", 3, "tts sets replicas itself"),
    (MONITORED, "ServiceMonitor asr", "spec/endpoints/0/port", "http", "the Service has no port http"),
    (MONITORED, "ServiceMonitor asr", "spec/jobLabel", "job", "has no label job"),
    (MONITORED, "Service asr", f"metadata/labels/{NAME_LABEL}", "asr", "chooses 0 Services"),
]
PODS = [
    (GPU, "Deployment tts", "spec/strategy/rollingUpdate/maxSurge", 1, "a rollout waits for a GPU more"),
    (CPU, "Deployment asr", f"{POD}/automountServiceAccountToken", REMOVED, "mounts a token"),
    (CPU, "ServiceAccount asr", "automountServiceAccountToken", True, "mounts its token"),
    (CPU, "Deployment asr", f"{POD}/enableServiceLinks", REMOVED, "gets variables of Services"),
    (CPU, "Deployment asr", f"{POD}/hostNetwork", True, "uses hostNetwork"),
    (
        CPU,
        "Deployment asr",
        f"{POD}/volumes/0",
        {"name": "tmp", "hostPath": {"path": "/"}},
        "kind that is not allowed",
    ),
    (BASE, "Deployment asr", f"{POD}/volumes/0/emptyDir", {}, "tmp has no limit"),
    (CPU, "Deployment asr", f"{POD}/volumes/0/emptyDir/sizeLimit", "1 GB", "1 GB is no quantity"),
    (CPU, "Deployment asr", f"{POD}/securityContext/runAsUser", 0, "does not run as 10001"),
    (CPU, "Deployment asr", f"{POD}/securityContext/seccompProfile", REMOVED, "seccompProfile"),
    (CPU, "Deployment asr", f"{MAIN}/securityContext/readOnlyRootFilesystem", False, "can write to its root"),
    (
        CPU,
        "Deployment asr",
        f"{MAIN}/securityContext/allowPrivilegeEscalation",
        REMOVED,
        "allowPrivilegeEscalation",
    ),
    (CPU, "Deployment asr", f"{MAIN}/securityContext/capabilities/drop", [], "capabilities are not dropped"),
    (CPU, "Deployment asr", f"{MAIN}/securityContext/privileged", True, "is privileged"),
    (
        CPU,
        "Namespace parley",
        "metadata/labels/pod-security.kubernetes.io~1enforce",
        "baseline",
        "not restricted",
    ),
    (CPU, "Deployment asr", f"{MAIN}/resources/limits/memory", REMOVED, "has no limit of memory"),
    (CPU, "Deployment asr", f"{MAIN}/resources/requests/cpu", REMOVED, "requests no cpu"),
    (
        CPU,
        "Deployment asr",
        f"{MAIN}/resources/requests/memory",
        "4Gi",
        "requests more memory than its limit",
    ),
    (CPU, "Deployment asr", f"{MAIN}/resources/limits/memory", "2GB", "2GB is no quantity"),
    (
        CPU,
        "StatefulSet redis",
        "spec/volumeClaimTemplates/0/spec/resources/requests/storage",
        "8 G",
        "8 G is no quantity",
    ),
    (CPU, "StatefulSet ollama", f"{POD}/terminationGracePeriodSeconds", 30, "is killed before its preStop"),
    (GPU, "StatefulSet ollama", f"{POD}/tolerations", [], "a GPU, its toleration and its node selector"),
    (
        GPU,
        "StatefulSet ollama",
        f"{MAIN}/resources/requests/nvidia.com~1gpu",
        2,
        "GPUs are requested and limited alike",
    ),
    (CPU, "Deployment asr", f"{MAIN}/image", "parley-recognizer:0.1.0", "not one that is known"),
    (CPU, "Deployment asr", f"{MAIN}/image", "parley-asr", "not one that is known, with a tag"),
    (CPU, "Deployment asr", f"{MAIN}/image", "parley-asr:0.0.9", "the tag 0.0.9 instead of"),
    (CPU, "StatefulSet redis", f"{MAIN}/image", "redis:6", "the tag 6 instead of"),
    (CPU, "Deployment asr", f"{MAIN}/livenessProbe", REMOVED, "has no livenessProbe"),
    (CPU, "Deployment asr", f"{MAIN}/livenessProbe/httpGet/port", 8080, "asks the port 8080"),
    (CPU, "Deployment asr", f"{MAIN}/readinessProbe/grpc/port", 50052, "asks 50052 for gRPC"),
    (CPU, "Deployment asr", f"{MAIN}/readinessProbe/grpc/port", "grpc", "gRPC probes take a number"),
    (
        CPU,
        "Deployment asr",
        f"{MAIN}/readinessProbe",
        {"httpGet": {"port": "metrics"}},
        "not asked for its gRPC health",
    ),
    (
        CPU,
        "Deployment asr",
        f"{MAIN}/livenessProbe",
        {"grpc": {"port": 50051}},
        "started anew when its engine is away",
    ),
]
SETTINGS = [
    (CPU, "ConfigMap asr", "data/PARLEY_ASR_MAX_STREAM", "5", "did you mean PARLEY_ASR_MAX_STREAMS"),
    (CPU, "ConfigMap asr", "data/PARLEY_LLM_MODEL", "x", "PARLEY_LLM_MODEL is another process's"),
    (CPU, "ConfigMap asr", "data/PARLEY_ASR_MAX_STREAMS", "many", "max_streams"),
    (CPU, "ConfigMap asr", "data/PARLEY_ASR_ALLOW_INSECURE_BIND", "false", "is not a loopback address"),
    (CPU, "ConfigMap asr", "data/PARLEY_ASR_PORT", "50061", "are not those of the settings"),
    (
        BASE,
        "ConfigMap asr",
        "data/PARLEY_ASR_VAD_MODEL_FILE",
        "/models/vad.onnx",
        "nothing is mounted at /models/vad.onnx",
    ),
    (
        GPU,
        "Deployment tts",
        f"{MAIN}/volumeMounts/0/mountPath",
        "/voices",
        "nothing is mounted at /etc/parley/voices.json",
    ),
    (
        CPU,
        "ConfigMap gateway",
        "data/PARLEY_GATEWAY_ASR_TARGET",
        "dns:///ear:50051",
        "there is no Service ear",
    ),
    (
        CPU,
        "ConfigMap gateway",
        "data/PARLEY_GATEWAY_ASR_TARGET",
        "dns:///asr:50052",
        "Service asr has no port 50052",
    ),
    (CPU, "ConfigMap llm", "data/PARLEY_LLM_OLLAMA_URL", "http://llama:11434", "there is no Service llama"),
    (CPU, "Deployment gateway", f"{POD}/terminationGracePeriodSeconds", 30, "is killed after 30000 ms"),
    (CPU, "Deployment asr", f"{MAIN}/lifecycle/preStop/sleep/seconds", 60, "is killed after 90000 ms"),
    (CPU, "ConfigMap gateway", "data/PARLEY_GATEWAY_DRAIN_GRACE_MS", "10000", "gateway drains for 10000 ms"),
    (CPU, "ConfigMap tts", "data/PARLEY_TTS_DRAIN_GRACE_MS", "10000", "tts drains for 10000 ms"),
    (CPU, "ConfigMap llm", "data/PARLEY_LLM_ANSWER_TIMEOUT_MS", "200000", "may last 203000 ms"),
    (CPU, "ConfigMap asr", "data/PARLEY_ASR_UTTERANCE_MAX_MS", "300000", "may last 310000 ms"),
    (CPU, "ConfigMap llm", "data/PARLEY_LLM_PARALLEL_COUNT", "4", "OLLAMA_NUM_PARALLEL says 4"),
    (CPU, "ConfigMap ollama", "data/OLLAMA_CONTEXT_LENGTH", "8192", "OLLAMA_CONTEXT_LENGTH says 8192"),
    (VLLM, "Deployment llm", "spec/replicas", 3, "MAX_SEQUENCES says 32"),
    (VLLM, "ConfigMap llm", "data/PARLEY_LLM_ENGINE", "ollama", "there is no StatefulSet ollama"),
]
NETWORK = [
    (
        CPU,
        "NetworkPolicy default-deny",
        "spec/policyTypes",
        ["Ingress"],
        "no NetworkPolicy denies everything",
    ),
    (CPU, "NetworkPolicy redis", f"spec/podSelector/matchLabels/{NAME_LABEL}", "cache", "chooses no Pods"),
    (CPU, "NetworkPolicy redis", "spec/ingress/0/ports/0/port", "tcp", "has no port tcp"),
    (CPU, "NetworkPolicy redis", "spec/ingress/0/ports", REMOVED, "ingress opens every port"),
    (CPU, "NetworkPolicy ollama", "spec/egress/0/to", REMOVED, "egress opens every address"),
    (
        CPU,
        "NetworkPolicy gateway",
        "spec/egress/0/ports/0/port",
        50059,
        "gateway may not call Deployment asr at 50051",
    ),
    (
        CPU,
        "NetworkPolicy services",
        f"spec/ingress/0/from/0/podSelector/matchLabels/{NAME_LABEL}",
        "parley-llm",
        "Deployment asr may not be called by Deployment gateway",
    ),
    (CPU, "NetworkPolicy to-ollama", "spec/podSelector", {}, "has no use for StatefulSet ollama at 11434"),
    (VLLM, "NetworkPolicy dns", "spec/podSelector", {}, "Deployment asr: looking up names is allowed"),
    (
        CPU,
        "NetworkPolicy dns",
        "spec/egress/0/ports",
        [{"port": 5353}],
        "looking up names is not allowed",
    ),
    (
        MONITORED,
        "NetworkPolicy metrics",
        "spec/podSelector/matchExpressions/0/values",
        ["parley-asr"],
        "Deployment llm: Prometheus may not read its metrics",
    ),
]
MISTAKES = [*REFERENCES, *PODS, *SETTINGS, *NETWORK]


@pytest.mark.parametrize(
    ("combination", "target", "where", "value", "said"), MISTAKES, ids=[mistake[-1] for mistake in MISTAKES]
)
def test_the_mistake_is_seen(
    combination: tuple[str, ...], target: str, where: str, value: Any, said: str
) -> None:
    try:
        kubectl_program()
    except NoKubectlError as error:
        if error.is_mistake:
            raise
        pytest.skip(f"k8s/ cannot be rendered: {error}")
    assert problems_without(combination) == []
    found = resources(*combination)
    put(one(found, *target.split()), where, value)
    assert any(said in problem for problem in problems(found)), problems(found)


@functools.cache
def problems_without(combination: tuple[str, ...]) -> list[str]:
    """What the cross-check says before a mistake is made."""
    return problems(resources(*combination))


def one(found: list[Resource], kind: str, name: str) -> Resource:
    """The resource of that name; a generated one's ends in a hash."""
    pattern = re.compile(re.escape(name) + "(-[a-z0-9]{10})?")
    [resource] = [e for e in found if e["kind"] == kind and pattern.fullmatch(e["metadata"]["name"])]
    return resource


def put(resource: Any, where: str, value: Any) -> None:
    """Put a value at a JSON pointer, or take away what is there."""
    *path, last = [part.replace("~1", "/") for part in where.split("/")]
    for part in path:
        resource = resource[int(part) if isinstance(resource, list) else part]
    key: Any = int(last) if isinstance(resource, list) else last
    if value is REMOVED:
        del resource[key]
    else:
        resource[key] = value


@pytest.mark.parametrize(
    ("text", "number"), [("250m", "0.25"), ("1", "1"), (2, "2"), ("1.5Gi", str(3 * 2**29)), ("2k", "2000")]
)
def test_quantities(text: object, number: str) -> None:
    assert str(quantity(text).normalize()) == str(quantity(number).normalize())


@pytest.mark.parametrize("text", ["", "1GB", "1 Gi", "-1", "Mi", "1mi", None])
def test_what_is_no_quantity(text: object) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("dns:///asr:50051", [("asr", 50051)]),
        ("asr:50051", [("asr", 50051)]),
        ("http://ollama:11434", [("ollama", 11434)]),
        ("http://vllm:8000/v1", [("vllm", 8000)]),
        ("redis://:secret@redis:6379/0", [("redis", 6379)]),
        ("gemma3:1b", []),
        ("0.0.0.0:11434", []),
        ("http://127.0.0.1:9880", []),
    ],
)
def test_addresses_in_settings(text: str, found: list[tuple[str, int]]) -> None:
    assert list(addresses(text)) == found
