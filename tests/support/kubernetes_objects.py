"""Rendered Kubernetes resources as the cross-check looks at them: workloads, containers, environments, quantities."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

from support.kubernetes_tools import Resource

WORKLOADS = ("Deployment", "StatefulSet", "Job")
_SCALES = {"": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
           "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}  # fmt: skip
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


def quantity(value: object) -> Decimal:
    """`500m`, `1Gi`, 2. Raises ValueError for what is none."""
    matched = _QUANTITY.fullmatch(str(value))
    if matched is None:
        raise ValueError(f"{value} is no quantity")
    return Decimal(matched[1]) * _SCALES[matched[2] or ""]


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector with matchLabels and matchExpressions (In) chooses what has `labels`. {} chooses all."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or []:
        if expression["operator"] != "In":
            raise ValueError(f"the operator {expression['operator']} is not understood here")
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


@dataclass(frozen=True)
class Workload:
    """What makes Pods. name: `Deployment asr`."""

    resource: Resource

    @property
    def kind(self) -> str:
        return str(self.resource["kind"])

    @property
    def bare_name(self) -> str:
        return str(self.resource["metadata"]["name"])

    @property
    def name(self) -> str:
        return f"{self.kind} {self.bare_name}"

    @property
    def pod(self) -> dict[str, Any]:
        pod: dict[str, Any] = self.resource["spec"]["template"]["spec"]
        return pod

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.resource["spec"]["template"]["metadata"].get("labels") or {})

    @property
    def containers(self) -> list[dict[str, Any]]:
        """All of them, sidecars too."""
        return [*self.pod["containers"], *(self.pod.get("initContainers") or [])]

    def port_numbers(self) -> dict[str, int]:
        """Container ports by name."""
        return {
            port.get("name", ""): port["containerPort"]
            for container in self.containers
            for port in container.get("ports") or []
        }

    def has_port(self, port: object) -> bool:
        """By name or number."""
        ports = self.port_numbers()
        return port in ports if isinstance(port, str) else port in ports.values()


@dataclass(frozen=True)
class Environment:
    """The variables of a container. values: those that are known. problems: what refers to nothing."""

    values: dict[str, str] = field(default_factory=dict)
    from_secrets: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


class Resources:
    """All resources of one rendering."""

    def __init__(self, resources: list[Resource]) -> None:
        self.all = resources

    def of(self, kind: str) -> list[Resource]:
        return [each for each in self.all if each["kind"] == kind]

    def named(self, kind: str, name: str) -> Resource | None:
        return next((each for each in self.of(kind) if each["metadata"]["name"] == name), None)

    @cached_property
    def workloads(self) -> list[Workload]:
        return [Workload(each) for each in self.all if each["kind"] in WORKLOADS]

    def behind(self, service: Resource) -> list[Workload]:
        """Workloads whose Pods a Service selects."""
        selector = service["spec"].get("selector")
        return [
            each for each in self.workloads if selector and selects({"matchLabels": selector}, each.labels)
        ]

    def environment(self, container: Mapping[str, Any]) -> Environment:
        """ConfigMaps, then the container's own, as Kubernetes reads them."""
        found = Environment()
        for source in container.get("envFrom") or []:
            name = source.get("configMapRef", {}).get("name")
            config = self.named("ConfigMap", name)
            if config is None:
                found.problems.append(f"envFrom names no ConfigMap: {name}")
            else:
                found.values.update(config.get("data") or {})
        for entry in container.get("env") or []:
            self._add(found, entry)
        for text in [*(container.get("command") or []), *(container.get("args") or [])]:
            _expand(found, "the command", text)
        return found

    def _add(self, found: Environment, entry: Mapping[str, Any]) -> None:
        name, source = entry["name"], entry.get("valueFrom") or {}
        if "secretKeyRef" in source:
            found.from_secrets.add(name)
        elif "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            config = self.named("ConfigMap", reference["name"]) or {}
            if reference["key"] not in (config.get("data") or {}):
                found.problems.append(
                    f"{name}: no ConfigMap {reference['name']} with the key {reference['key']}"
                )
            else:
                found.values[name] = config["data"][reference["key"]]
        else:
            found.values[name] = _expand(found, name, entry.get("value", ""))


def addresses(text: str) -> Iterator[tuple[str, int]]:
    """(host, port) of every `host:port` in a setting: a URL, a gRPC target."""
    for host, port in re.findall(r"(?:^|/|@)([a-z][a-z0-9.-]*):(\d+)(?=$|/)", text):
        yield host, int(port)


def _expand(found: Environment, where: str, text: str) -> str:
    def value(matched: re.Match[str]) -> str:
        name = matched[1]
        if name not in found.values and name not in found.from_secrets:
            found.problems.append(f"{where}: $({name}) is no variable before it")
        return found.values.get(name, "secret")

    return _REFERENCE.sub(value, text)
