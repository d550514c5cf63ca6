"""Which processes `parley up` starts, and with what: the profiles."""

import os
from enum import StrEnum

from parley_cli.supervisor import ChildSpec, SupervisorError, free_ports

_PORTS = {"asr": (50051, 9465), "llm": (50052, 9466), "tts": (50053, 9467), "gateway": (50050, 9464)}


class Profile(StrEnum):
    """embedded: everything of our own, no download. workstation: Ollama as the chat model."""

    EMBEDDED = "embedded"
    WORKSTATION = "workstation"


# Variables that a profile sets where the user has not.
_ENGINES: dict[Profile, dict[str, str]] = {
    Profile.EMBEDDED: {},
    Profile.WORKSTATION: {"PARLEY_LLM_ENGINE": "ollama", "PARLEY_LLM_MODEL": "gemma3"},
}


def child_specs(profile: Profile, *, any_port: bool) -> list[ChildSpec]:
    """The four processes; the gateway knows where the others are. any_port: free ports instead of the usual ones.

    SupervisorError when a variable that moves a port is not a port.
    """
    ports = _any_ports() if any_port else {name: _chosen_ports(name) for name in _PORTS}
    engines = {name: value for name, value in _ENGINES[profile].items() if name not in os.environ}
    targets = {
        f"PARLEY_GATEWAY_{name.upper()}_TARGET": f"127.0.0.1:{ports[name][0]}"
        for name in ("asr", "llm", "tts")
    }
    return [
        ChildSpec(
            name,
            f"parley_{name}",
            *ports[name],
            {
                key: value
                for key, value in (engines | targets).items()
                if key.startswith(f"PARLEY_{name.upper()}_")
            },
        )
        for name in _PORTS
    ]


def _chosen_ports(name: str) -> tuple[int, int]:
    port, metrics_port = _PORTS[name]
    prefix = f"PARLEY_{name.upper()}_"
    return _port(f"{prefix}PORT", port), _port(f"{prefix}METRICS_PORT", metrics_port)


def _port(variable: str, usual: int) -> int:
    text = os.environ.get(variable) or str(usual)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65_536):
        raise SupervisorError(
            f"{variable} is a port from 1 to 65535, not {text!r}; --any-port finds free ones"
        )
    return int(text)


def _any_ports() -> dict[str, tuple[int, int]]:
    free = iter(free_ports(2 * len(_PORTS)))
    return {name: (next(free), next(free)) for name in _PORTS}
