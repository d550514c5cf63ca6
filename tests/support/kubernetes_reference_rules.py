"""Everything that a resource refers to exists and is what it should be. Part of `kubernetes_cross_check`."""

from collections.abc import Iterator
from typing import Any

from support.kubernetes_objects import Resources, Workload, selects

# The versions that are there in Kubernetes 1.30 to 1.37: older ones of the same kinds have been removed.
API_VERSIONS = {
    "Namespace": "v1",
    "ServiceAccount": "v1",
    "ConfigMap": "v1",
    "Service": "v1",
    "PersistentVolumeClaim": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Job": "batch/v1",
    "PodDisruptionBudget": "policy/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "NetworkPolicy": "networking.k8s.io/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}
# Made by hand, as k8s/README.md says.
SECRET_KEYS = {"redis": {"password", "url"}}


def reference_problems(resources: Resources) -> Iterator[str]:
    yield from _identities(resources)
    for kind, rule in _RULES.items():
        for each in resources.of(kind):
            for problem in rule(resources, each):
                yield f"{kind} {each['metadata']['name']}: {problem}"


def _identities(resources: Resources) -> Iterator[str]:
    seen = set()
    for each in resources.all:
        kind, metadata = each["kind"], each["metadata"]
        if API_VERSIONS.get(kind) != each["apiVersion"]:
            yield f"{kind} {metadata['name']}: {each['apiVersion']} is not the version that is served"
        if kind != "Namespace" and metadata.get("namespace") != "parley":
            yield f"{kind} {metadata['name']} is not in the namespace parley"
        if (kind, metadata["name"]) in seen:
            yield f"{kind} {metadata['name']} is there twice"
        seen.add((kind, metadata["name"]))


def _workload(resources: Resources, resource: dict[str, Any]) -> Iterator[str]:
    workload = Workload(resource)
    spec = resource["spec"]
    if workload.kind != "Job" and not selects(spec["selector"], workload.labels):
        yield "the selector does not choose its own Pods"
    if resources.named("ServiceAccount", workload.pod.get("serviceAccountName", "")) is None:
        yield "the ServiceAccount is missing"
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in resources.of("HorizontalPodAutoscaler")}
    if workload.kind != "Job" and "replicas" not in spec and workload.bare_name not in scaled:
        yield "has neither replicas nor an autoscaler"
    for spread in workload.pod.get("topologySpreadConstraints") or []:
        if not selects(spread["labelSelector"], workload.labels):
            yield "topologySpreadConstraints choose other Pods"
    if workload.kind == "StatefulSet":
        service = resources.named("Service", spec["serviceName"])
        if service is None or service["spec"].get("clusterIP") != "None":
            yield f"serviceName {spec['serviceName']} is no headless Service"
    yield from _volumes(resources, workload)
    for container in workload.containers:
        yield from resources.environment(container).problems
        for entry in container.get("env") or []:
            yield from _secret((entry.get("valueFrom") or {}).get("secretKeyRef"))


def _volumes(resources: Resources, workload: Workload) -> Iterator[str]:
    claims = workload.resource["spec"].get("volumeClaimTemplates") or []
    there = {claim["metadata"]["name"] for claim in claims}
    for volume in workload.pod.get("volumes") or []:
        there.add(volume["name"])
        if (config := volume.get("configMap")) and resources.named("ConfigMap", config["name"]) is None:
            yield f"the volume {volume['name']} names no ConfigMap: {config['name']}"
        claim = volume.get("persistentVolumeClaim")
        if claim and resources.named("PersistentVolumeClaim", claim["claimName"]) is None:
            yield f"the volume {volume['name']} names no claim: {claim['claimName']}"
        if (secret := volume.get("secret")) and secret["secretName"] not in SECRET_KEYS:
            yield f"the volume {volume['name']} names an unknown Secret: {secret['secretName']}"
    used = {
        mount["name"] for container in workload.containers for mount in container.get("volumeMounts") or []
    }
    for name in sorted(used - there):
        yield f"the volume {name} is mounted and not there"
    for name in sorted(there - used):
        yield f"the volume {name} is mounted by nobody"


def _secret(reference: dict[str, Any] | None) -> Iterator[str]:
    if reference is not None and reference["key"] not in SECRET_KEYS.get(reference["name"], set()):
        yield f"the Secret {reference['name']} with the key {reference['key']} is documented nowhere"


def _service(resources: Resources, service: dict[str, Any]) -> Iterator[str]:
    behind = resources.behind(service)
    if len(behind) != 1:
        yield f"selects {len(behind)} workloads"
    for workload in behind:
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            if not workload.has_port(target):
                yield f"the port {port['name']} leads to {target}, which {workload.name} does not have"
            elif workload.port_numbers().get(target, target) != port["port"]:
                yield f"the port {port['name']} has another number than the container's, which headless Services ignore"


def _budget(resources: Resources, budget: dict[str, Any]) -> Iterator[str]:
    chosen = [each for each in resources.workloads if selects(budget["spec"]["selector"], each.labels)]
    if len(chosen) != 1:
        yield f"chooses {len(chosen)} workloads"
    if budget["spec"].get("maxUnavailable", 0) < 1:
        yield "lets no Pod be moved"


def _scaler(resources: Resources, scaler: dict[str, Any]) -> Iterator[str]:
    spec = scaler["spec"]
    target = spec["scaleTargetRef"]
    resource = resources.named(target["kind"], target["name"])
    if resource is None:
        yield f"there is no {target['kind']} {target['name']}"
        return
    if resource["apiVersion"] != target["apiVersion"]:
        yield f"{target['apiVersion']} is not the version of {target['name']}"
    if "replicas" in resource["spec"]:
        yield f"{target['name']} sets replicas itself"
    if not 1 <= spec["minReplicas"] <= spec["maxReplicas"]:
        yield "minReplicas is above maxReplicas"
    containers = {each["name"]: each for each in Workload(resource).containers}
    for metric in spec["metrics"]:
        source = metric["containerResource"]
        container = containers.get(source["container"])
        if container is None:
            yield f"there is no container {source['container']}"
        elif source["name"] not in container["resources"]["requests"]:
            yield f"{source['container']} requests no {source['name']}, of which the target is a share"


def _monitor(resources: Resources, monitor: dict[str, Any]) -> Iterator[str]:
    spec = monitor["spec"]
    services = [
        s for s in resources.of("Service") if selects(spec["selector"], s["metadata"].get("labels") or {})
    ]
    if len(services) != 1:
        yield f"chooses {len(services)} Services"
    for service in services:
        if spec["jobLabel"] not in service["metadata"]["labels"]:
            yield f"the Service has no label {spec['jobLabel']} for the job's name"
        names = {port["name"] for port in service["spec"]["ports"]}
        for endpoint in spec["endpoints"]:
            if endpoint["port"] not in names:
                yield f"the Service has no port {endpoint['port']}"


_RULES = {
    "Deployment": _workload,
    "StatefulSet": _workload,
    "Job": _workload,
    "Service": _service,
    "PodDisruptionBudget": _budget,
    "HorizontalPodAutoscaler": _scaler,
    "ServiceMonitor": _monitor,
}
