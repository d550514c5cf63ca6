"""Policies allow exactly the edges that the settings name. Part of `kubernetes_cross_check`."""

from collections.abc import Iterator
from typing import Any

from support.kubernetes_objects import Resources, Workload, addresses, selects

Edge = tuple[str, str, int]


def network_problems(resources: Resources) -> Iterator[str]:
    policies = [each["spec"] for each in resources.of("NetworkPolicy")]
    if not any(_denies_everything(policy) for policy in policies):
        yield "no NetworkPolicy denies everything that no other allows"
    for resource in resources.of("NetworkPolicy"):
        chosen = [
            each for each in resources.workloads if selects(resource["spec"]["podSelector"], each.labels)
        ]
        if not chosen:
            yield f"NetworkPolicy {resource['metadata']['name']}: chooses no Pods"
        yield from (
            f"NetworkPolicy {resource['metadata']['name']}: {each}" for each in _ports(resource, chosen)
        )
    edges = set(_edges(resources))
    workloads = {each.name: each for each in resources.workloads}
    for source, target, port in sorted(edges):
        if not _allows(policies, "egress", workloads[source], workloads[target], port):
            yield f"{source} may not call {target} at {port}"
        if not _allows(policies, "ingress", workloads[target], workloads[source], port):
            yield f"{target} may not be called by {source} at {port}"
    yield from _needless(policies, resources, edges)
    yield from _names(policies, workloads, {source for source, _, _ in edges})
    if resources.of("ServiceMonitor"):
        for workload in workloads.values():
            if "metrics" in workload.port_numbers() and not _is_scraped(policies, workload):
                yield f"{workload.name}: Prometheus may not read its metrics"


def _denies_everything(policy: dict[str, Any]) -> bool:
    return (
        policy["podSelector"] == {}
        and set(policy["policyTypes"]) == {"Ingress", "Egress"}
        and not policy.get("ingress")
        and not policy.get("egress")
    )


def _edges(resources: Resources) -> Iterator[Edge]:
    """Who calls whom: every Service's address in a variable."""
    for workload in resources.workloads:
        for container in workload.containers:
            for value in resources.environment(container).values.values():
                for host, port in addresses(value):
                    service = resources.named("Service", host)
                    for target in resources.behind(service) if service else ():
                        yield workload.name, target.name, port


def _allows(policies: list[dict[str, Any]], way: str, own: Workload, other: Workload, port: int) -> bool:
    """Whether `own` may reach (egress) or be reached by (ingress) `other` at `port`, which is of the one called."""
    called = other if way == "egress" else own
    return any(
        _has_peer(rule.get("to" if way == "egress" else "from"), other) and _has_port(rule, called, port)
        for policy in policies
        if selects(policy["podSelector"], own.labels)
        for rule in policy.get(way) or []
    )


def _has_peer(peers: list[dict[str, Any]] | None, workload: Workload) -> bool:
    """No list of peers: everybody."""
    if peers is None:
        return True
    return any(
        "podSelector" in peer
        and "namespaceSelector" not in peer
        and selects(peer["podSelector"], workload.labels)
        for peer in peers
    )


def _has_port(rule: dict[str, Any], called: Workload, port: int) -> bool:
    """No list of ports: all."""
    if "ports" not in rule:
        return True
    numbers = called.port_numbers()
    return any(numbers.get(each["port"], each["port"]) == port for each in rule["ports"])


def _ports(resource: dict[str, Any], chosen: list[Workload]) -> Iterator[str]:
    """Ports of ingress exist at those who are called; every rule names some."""
    for way in ("ingress", "egress"):
        for rule in resource["spec"].get(way) or []:
            if not rule.get("ports"):
                yield f"{way} opens every port"
            if way == "egress" and not rule.get("to"):
                yield "egress opens every address"
            for port in rule.get("ports") or [] if way == "ingress" else []:
                for workload in chosen:
                    if not workload.has_port(port["port"]):
                        yield f"{workload.name} has no port {port['port']}"


def _needless(policies: list[dict[str, Any]], resources: Resources, edges: set[Edge]) -> Iterator[str]:
    """Two of ours may speak only where one has the address of the other."""
    for source in resources.workloads:
        for target in resources.workloads:
            for port in target.port_numbers().values():
                edge = (source.name, target.name, port)
                if edge not in edges and _allows(policies, "egress", source, target, port):
                    yield f"{source.name} has no use for {target.name} at {port}, and may call it"


def _names(
    policies: list[dict[str, Any]], workloads: dict[str, Workload], callers: set[str]
) -> Iterator[str]:
    """Who calls by name may ask for names, and nobody else."""
    for name, workload in workloads.items():
        own = [policy for policy in policies if selects(policy["podSelector"], workload.labels)]
        rules = [rule for policy in own for rule in policy.get("egress") or []]
        asks = any(port["port"] == 53 for rule in rules for port in rule.get("ports") or [])
        leaves = any("ipBlock" in peer for rule in rules for peer in rule.get("to") or [])
        if asks != (name in callers or leaves):
            yield f"{name}: looking up names is {'' if asks else 'not '}allowed"


def _is_scraped(policies: list[dict[str, Any]], workload: Workload) -> bool:
    return any(
        "namespaceSelector" in peer and {"port": "metrics"} in (rule.get("ports") or [])
        for policy in policies
        if selects(policy["podSelector"], workload.labels)
        for rule in policy.get("ingress") or []
        for peer in rule.get("from") or []
    )
