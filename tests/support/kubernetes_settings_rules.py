"""What the manifests say to processes is what these understand, and fits together. Part of `kubernetes_cross_check`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from parley_asr.settings import Settings as AsrSettings
from parley_gateway.settings import Settings as GatewaySettings
from parley_llm.settings import Settings as LlmSettings
from parley_servicekit.settings import ProcessSettings, unknown_variables
from parley_tts.settings import Settings as TtsSettings
from support.kubernetes_objects import Environment, Resources, Workload, addresses

SETTINGS: dict[str, type[ProcessSettings]] = {
    settings.process_name(): settings for settings in (GatewaySettings, AsrSettings, LlmSettings, TtsSettings)
}
# What a process takes for itself after its drain: clean-up and the last flush (process.py).
_CLEAN_UP_MS = 3000
_LOOPBACK = ("localhost",)


def settings_problems(resources: Resources) -> Iterator[str]:
    read: dict[str, ProcessSettings] = {}
    for name, settings_class in SETTINGS.items():
        deployment = resources.named("Deployment", name)
        if deployment is None:
            yield f"there is no Deployment {name}"
            continue
        workload = Workload(deployment)
        container = next(each for each in workload.containers if each["name"] == name)
        environment = resources.environment(container)
        problems = list(_variables(settings_class, environment))
        if not problems:
            settings, problems = _read(settings_class, container, environment)
            if settings is not None:
                read[name] = settings
                problems += _ports_and_grace(workload, container, settings)
        yield from (f"Deployment {name}: {problem}" for problem in problems)
    for workload in resources.workloads:
        for container in workload.containers:
            for problem in _addresses(resources, resources.environment(container)):
                yield f"{workload.name}: {problem}"
    if len(read) == len(SETTINGS):
        yield from _drains(read)
        yield from _capacity(resources, read)


def _variables(settings_class: type[ProcessSettings], environment: Environment) -> Iterator[str]:
    prefix = settings_class.env_prefix()
    known = [settings_class.variable(field) for field in settings_class.model_fields]
    set_here = {name: "" for name in {*environment.values, *environment.from_secrets}}
    yield from unknown_variables(set_here, prefix, known)
    for name in sorted(set_here):
        if name.startswith("PARLEY_") and not name.startswith(prefix):
            yield f"{name} is another process's"


def _read(
    settings_class: type[ProcessSettings], container: dict[str, Any], environment: Environment
) -> tuple[ProcessSettings | None, list[str]]:
    """The settings as the process would read them; files lie where a volume is mounted."""
    prefix = settings_class.env_prefix()
    mounts = [PurePosixPath(mount["mountPath"]) for mount in container.get("volumeMounts") or []]
    values: dict[str, str] = {}
    problems = []
    with tempfile.NamedTemporaryFile() as file:
        for name, value in environment.values.items():
            if not name.startswith(prefix):
                continue
            field = name.removeprefix(prefix).lower()
            values[field] = value
            if field.endswith(("_file", "_folder")):
                path = PurePosixPath(value)
                if not any(path.is_relative_to(mount) for mount in mounts):
                    problems.append(f"{name}: nothing is mounted at {value}")
                values[field] = file.name if field.endswith("_file") else str(Path(file.name).parent)
        for name in environment.from_secrets:
            if name.startswith(prefix):
                values[name.removeprefix(prefix).lower()] = "secret"
        try:
            return settings_class(**values), problems
        except ValidationError as error:
            details = error.errors(include_input=False, include_url=False)
            return None, [*problems, *(f"{prefix}{detail['loc']}: {detail['msg']}" for detail in details)]


def _ports_and_grace(
    workload: Workload, container: dict[str, Any], settings: ProcessSettings
) -> Iterator[str]:
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    if ports != {"grpc": settings.port, "metrics": settings.metrics_port}:
        yield f"the container's ports {ports} are not those of the settings"
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container.get(kind, {}).get("grpc", {}).get("port", settings.port)
        if asked != settings.port:
            yield f"{kind} asks {asked} for gRPC"
    before_ms = container["lifecycle"]["preStop"]["sleep"]["seconds"] * 1000
    grace_ms = workload.pod["terminationGracePeriodSeconds"] * 1000
    if grace_ms < before_ms + settings.drain_grace_ms + _CLEAN_UP_MS:
        yield f"is killed after {grace_ms} ms, before preStop and drain are over"


def _addresses(resources: Resources, environment: Environment) -> Iterator[str]:
    for name, value in environment.values.items():
        for host, port in addresses(value):
            service = resources.named("Service", host)
            if service is None:
                if host not in _LOOPBACK:
                    yield f"{name}: there is no Service {host}"
            elif port not in {each["port"] for each in service["spec"]["ports"]}:
                yield f"{name}: the Service {host} has no port {port}"


def _drains(read: dict[str, Any]) -> Iterator[str]:
    """A Pod that goes away finishes what it has begun."""
    longest_ms = {
        "gateway": read["gateway"].reply_deadline_ms,
        "tts": read["gateway"].reply_deadline_ms,
        "llm": read["llm"].queue_timeout_ms + read["llm"].answer_timeout_ms,
        "asr": read["asr"].utterance_max_ms + read["asr"].decode_timeout_ms,
    }
    for name, longest in longest_ms.items():
        if read[name].drain_grace_ms < longest:
            yield f"{name} drains for {read[name].drain_grace_ms} ms, and what it does may last {longest} ms"


def _capacity(resources: Resources, read: dict[str, Any]) -> Iterator[str]:
    """The llm Pods together ask a model server for no more than it does at once."""
    llm = read["llm"]
    servers = {"ollama": ("ollama", "OLLAMA_NUM_PARALLEL", "OLLAMA_CONTEXT_LENGTH"),
               "openai": ("vllm", "MAX_SEQUENCES", "MAX_TOKENS")}  # fmt: skip
    if llm.engine not in servers:
        return
    name, slots_variable, tokens_variable = servers[llm.engine]
    server = resources.named("StatefulSet", name)
    if server is None:
        yield f"llm's engine is {llm.engine}, and there is no StatefulSet {name}"
        return
    deployment = resources.named("Deployment", "llm") or {}
    values = resources.environment(server["spec"]["template"]["spec"]["containers"][0]).values
    asked = deployment["spec"].get("replicas", 0) * llm.parallel_count
    if not 0 < asked <= int(values[slots_variable]) * server["spec"]["replicas"]:
        yield f"llm's Pods ask for {asked} answers at once, {slots_variable} says {values[slots_variable]}"
    if llm.context_token_count != int(values[tokens_variable]):
        yield f"llm's context is {llm.context_token_count} tokens, {tokens_variable} says {values[tokens_variable]}"
