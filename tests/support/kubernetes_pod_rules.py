"""What every Pod and container keeps to: security, probes, resources, images. Part of `kubernetes_cross_check`."""

from collections.abc import Iterator
from typing import Any

from support.kubernetes_objects import Resources, Workload, quantity

USER = 10001
# (workload, container): why it may be less strict, see its component.
AS_ROOT = {("Deployment tts", "gpt-sovits")}
_GPU = "nvidia.com/gpu"


def pod_problems(resources: Resources, image_tags: dict[str, str]) -> Iterator[str]:
    """image_tags: the tag of every image that is known."""
    is_rooted = False
    for workload in resources.workloads:
        yield from (f"{workload.name}: {problem}" for problem in _pod(workload))
        for container in workload.containers:
            is_root = (workload.name, container["name"]) in AS_ROOT
            is_rooted |= is_root
            problems = [
                *_security(workload, container, is_root=is_root),
                *_resources(container),
                *_image(container, image_tags),
                *_probes(workload, container),
            ]
            yield from (f"{workload.name}, {container['name']}: {problem}" for problem in problems)
    for namespace in resources.of("Namespace"):
        for mode in ("enforce", "warn", "audit"):
            wanted = "baseline" if is_rooted and mode == "enforce" else "restricted"
            if namespace["metadata"]["labels"].get(f"pod-security.kubernetes.io/{mode}") != wanted:
                yield f"Namespace: pod-security.kubernetes.io/{mode} is not {wanted}"
    for account in resources.of("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount {account['metadata']['name']}: mounts its token"


def _pod(workload: Workload) -> Iterator[str]:
    pod = workload.pod
    if pod.get("automountServiceAccountToken") is not False:
        yield "mounts a token"
    if pod.get("enableServiceLinks") is not False:
        yield "gets variables of Services, which may look like settings"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"uses {key}"
    grace_s = pod.get("terminationGracePeriodSeconds", 30)
    for container in workload.containers:
        if container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0) >= grace_s:
            yield f"{container['name']} is killed before its preStop is over"
    yield from _volumes(pod)
    for claim in workload.resource["spec"].get("volumeClaimTemplates") or []:
        yield from _claim(claim["spec"])
    has_gpu = any(_GPU in (each["resources"].get("limits") or {}) for each in workload.containers)
    tolerated = [each.get("key") for each in pod.get("tolerations") or []]
    if has_gpu != (_GPU in tolerated) or has_gpu != ("nodeSelector" in pod):
        yield "a GPU, its toleration and its node selector go together"
    strategy = workload.resource["spec"].get("strategy", {})
    if has_gpu and strategy.get("rollingUpdate", {}).get("maxSurge", 0) != 0:
        yield "a rollout waits for a GPU more"


def _volumes(pod: dict[str, Any]) -> Iterator[str]:
    for volume in pod.get("volumes") or []:
        if not {"configMap", "secret", "emptyDir", "persistentVolumeClaim"} & set(volume):
            yield f"the volume {volume['name']} is of a kind that is not allowed"
        if "emptyDir" in volume:
            try:
                quantity(volume["emptyDir"].get("sizeLimit"))
            except ValueError as error:
                yield f"the volume {volume['name']} has no limit: {error}"


def _claim(spec: dict[str, Any]) -> Iterator[str]:
    try:
        quantity(spec["resources"]["requests"]["storage"])
    except ValueError as error:
        yield f"storage: {error}"


def _security(workload: Workload, container: dict[str, Any], *, is_root: bool) -> Iterator[str]:
    context = {**(workload.pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccompProfile is not RuntimeDefault"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities are not dropped"
    if context.get("privileged"):
        yield "is privileged"
    if is_root:
        return
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") != USER:
        yield f"does not run as {USER}"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "can write to its root file system"


def _resources(container: dict[str, Any]) -> Iterator[str]:
    requests = container["resources"].get("requests") or {}
    limits = container["resources"].get("limits") or {}
    for name in ("cpu", "memory"):
        if name not in requests:
            yield f"requests no {name}"
    if "memory" not in limits:
        yield "has no limit of memory"
    if limits.get(_GPU) != requests.get(_GPU, limits.get(_GPU)):
        yield "GPUs are requested and limited alike"
    for name in sorted({*requests, *limits}):
        try:
            most = quantity(limits.get(name, requests.get(name)))
            if quantity(requests.get(name, limits.get(name))) > most:
                yield f"requests more {name} than its limit"
        except ValueError as error:
            yield f"{name}: {error}"


def _image(container: dict[str, Any], image_tags: dict[str, str]) -> Iterator[str]:
    name, _, tag = container["image"].rpartition(":")
    if name not in image_tags:
        yield f"the image {container['image']} is not one that is known, with a tag"
    elif image_tags[name] not in (tag, tag.removesuffix("-cuda")):
        yield f"the image {name} has the tag {tag} instead of {image_tags[name]}"


def _probes(workload: Workload, container: dict[str, Any]) -> Iterator[str]:
    numbers = {port.get("name"): port["containerPort"] for port in container.get("ports") or []}
    # Of sidecars, the one there is listens on loopback only, and tts tells what has become of it.
    is_server = workload.kind != "Job" and container in workload.pod["containers"]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container.get(kind)
        if probe is None:
            if is_server:
                yield f"has no {kind}"
            continue
        for action in ("grpc", "httpGet", "tcpSocket"):
            port = probe.get(action, {}).get("port")
            if port is not None and port not in numbers and port not in numbers.values():
                yield f"{kind} asks the port {port}, which it does not have"
            if action == "grpc" and isinstance(port, str):
                yield f"{kind}: gRPC probes take a number"
    if is_server and "grpc" in numbers and "grpc" not in (container.get("readinessProbe") or {}):
        yield "is not asked for its gRPC health"
    # The overall gRPC health follows the engine; a restart would not bring it back.
    if "grpc" in (container.get("livenessProbe") or {}):
        yield "is started anew when its engine is away"
