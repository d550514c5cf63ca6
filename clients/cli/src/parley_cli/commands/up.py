"""`parley up`: start everything and keep it running. `parley demo`: the same, with a spoken question and answer."""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import platformdirs
import typer
from rich.text import Text

from parley_cli import demonstration
from parley_cli.console import out
from parley_cli.profiles import Profile, child_specs
from parley_cli.supervisor import ChildEvent, ChildSpec, Supervisor


def up(
    profile: Annotated[Profile, typer.Option(help="embedded: no download; workstation: Ollama answers")] = (
        Profile.EMBEDDED
    ),
    any_port: Annotated[
        bool, typer.Option("--any-port", help="use free ports instead of 50050 to 50053")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print what happens as JSON lines")] = False,
) -> None:
    """Start gateway, asr, llm and tts on this machine, and keep them running until Ctrl-C."""
    asyncio.run(_up(profile, any_port, as_json))


def demo() -> None:
    """Start everything, ask a spoken question, hear the answer."""
    asyncio.run(_demo())


async def _up(profile: Profile, any_port: bool, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    specs = child_specs(profile, any_port=any_port)
    supervisor = Supervisor(specs, log_folder(), _print_event_json if as_json else _print_event)
    async with supervisor.running():
        addresses = {spec.name: f"127.0.0.1:{spec.port}" for spec in specs}
        metrics = {spec.name: f"http://127.0.0.1:{spec.metrics_port}/metrics" for spec in specs}
        if as_json:
            print(json.dumps({"event": "ready", "addresses": addresses, "metrics": metrics}), flush=True)
        else:
            _print_ready(addresses)
        await stop.wait()
        if not as_json:
            out.print("  stopping")


async def _demo() -> None:
    quiet: list[ChildEvent] = []
    specs = child_specs(Profile.EMBEDDED, any_port=True)
    out.print("  starting four processes: gateway, asr, llm, tts")
    # In a folder of its own: a demonstration leaves no conversation behind, and runs beside 'parley up'.
    with tempfile.TemporaryDirectory(prefix="parley-demo-") as state:
        specs = [_with_state(spec, state) for spec in specs]
        async with Supervisor(specs, log_folder() / "demo", quiet.append).running():
            await demonstration.demonstrate(_gateway(specs), Path("demo-reply.wav"))


def _with_state(spec: ChildSpec, folder: str) -> ChildSpec:
    """The same process with its state in `folder`; only the gateway has any."""
    if spec.name != "gateway":
        return spec
    return replace(spec, environment={**spec.environment, "PARLEY_GATEWAY_STATE_FOLDER": folder})


def _gateway(specs: Sequence[ChildSpec]) -> str:
    return next(f"127.0.0.1:{spec.port}" for spec in specs if spec.name == "gateway")


def log_folder() -> Path:
    """Where the processes' logs go."""
    base = os.environ.get("PARLEY_HOME")
    return Path(base) / "logs" if base else platformdirs.user_state_path("parley") / "logs"


def _print_event(event: ChildEvent) -> None:
    style = {"died": "red", "ready": "green"}.get(event.kind, "dim")
    out.print(Text.assemble(f"  {event.name:<8}", (event.kind, style), f"  {event.detail}"))


def _print_event_json(event: ChildEvent) -> None:
    line = {"event": event.kind, "process": event.name, "detail": event.detail, "pid": event.pid}
    print(json.dumps(line), flush=True)


def _print_ready(addresses: dict[str, str]) -> None:
    out.print(f"\n  ready: gateway {addresses['gateway']}", style="bold")
    variable = "" if addresses["gateway"].endswith(":50050") else f"PARLEY_GATEWAY={addresses['gateway']} "
    out.print(
        f"  in another terminal: {variable}parley talk    (Ctrl-C here stops everything)\n", markup=False
    )
