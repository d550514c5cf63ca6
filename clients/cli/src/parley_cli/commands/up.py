"""`parley up`: start everything and keep it running. `parley demo`: the same, with a spoken question and answer."""

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import platformdirs
import typer
from rich.text import Text

from parley_cli import demonstration
from parley_cli.messages import message
from parley_cli.profiles import Profile, child_specs
from parley_cli.running import run
from parley_cli.screen import in_cells, out, printable
from parley_cli.sound_files import check_writable
from parley_cli.supervisor import ChildEvent, ChildSpec, Supervisor
from parley_client import DEFAULT_TARGET

# Of each event its word and style.
_KINDS = {"ready": ("is_ready", "green"), "died": ("died", "red")}
_KIND_CELLS = 10


def up(
    profile: Annotated[Profile, typer.Option(help="embedded: no download; workstation: Ollama answers")] = (
        Profile.EMBEDDED
    ),
    any_port: Annotated[
        bool, typer.Option("--any-port", help="use free ports instead of 50050 to 50053")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print what happens as JSON lines")] = False,
) -> None:
    """Start everything on this machine, until Ctrl-C.

    Four processes: gateway, asr, llm and tts. One that dies is started again.
    """
    run(_until_told_to_stop(_up(profile, any_port, as_json), as_json))


def demo() -> None:
    """Start everything, ask aloud, hear the answer.

    The question is a sound file that comes with Parley; the answer is written to demo-reply.wav.
    """
    run(_demo())


async def _until_told_to_stop(serving: Coroutine[Any, Any, None], as_json: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(serving, name="up.serve")
        await stop.wait()
        if not as_json:
            out.print(f"  {message('stopping')}")
        task.cancel()


async def _up(profile: Profile, any_port: bool, as_json: bool) -> None:
    specs = child_specs(profile, any_port=any_port)
    if not as_json:
        out.print(f"  {message('starting')}", style="dim")
    supervisor = Supervisor(specs, log_folder(), _print_event_json if as_json else _print_event)
    async with supervisor.running():
        addresses = {spec.name: f"127.0.0.1:{spec.port}" for spec in specs}
        metrics = {spec.name: f"http://127.0.0.1:{spec.metrics_port}/metrics" for spec in specs}
        if as_json:
            print(json.dumps({"event": "ready", "addresses": addresses, "metrics": metrics}), flush=True)
        else:
            _print_ready(specs)
        await asyncio.Event().wait()


async def _demo() -> None:
    reply_file = Path("demo-reply.wav")
    check_writable(reply_file)
    specs = child_specs(Profile.EMBEDDED, any_port=True)
    out.print(f"  {message('starting')}")
    # In a folder of its own: a demonstration leaves no conversation behind, and runs beside 'parley up'.
    with tempfile.TemporaryDirectory(prefix="parley-demo-") as state:
        specs = [_with_state(spec, state) for spec in specs]
        async with Supervisor(specs, log_folder() / "demo", _print_death).running():
            await demonstration.demonstrate(_gateway(specs), reply_file)


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
    if event.kind == "starting":
        return  # all four are, or the line above says so
    word, style = _KINDS[event.kind]
    kind = in_cells(message(word), _KIND_CELLS)
    out.print(Text.assemble(f"  {event.name:<9}", (kind, style), printable(event.detail)))


def _print_death(event: ChildEvent) -> None:
    if event.kind == "died":
        _print_event(event)


def _print_event_json(event: ChildEvent) -> None:
    line = {"event": event.kind, "process": event.name, "detail": event.detail, "pid": event.pid}
    print(json.dumps(line), flush=True)


def _print_ready(specs: Sequence[ChildSpec]) -> None:
    gateway = _gateway(specs)
    out.print(f"\n  {message('ready', gateway=gateway)}", style="bold")
    out.print(f"  {message('in_another_terminal')}")
    if gateway != DEFAULT_TARGET:
        out.print(f"    export PARLEY_GATEWAY={gateway}", soft_wrap=True)
        ports = ",".join(f"{spec.name}={spec.metrics_port}" for spec in specs)
        out.print("    parley talk   parley chat   parley doctor")
        out.print(f"    parley top --metrics {ports}", soft_wrap=True)
    else:
        out.print("    parley talk   parley chat   parley doctor   parley top")
    out.print(f"  {message('stop_with', logs=log_folder())}\n", style="dim", soft_wrap=True)
