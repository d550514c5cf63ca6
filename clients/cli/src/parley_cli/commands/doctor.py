"""`parley doctor`: what works, what does not, and what to do about it."""

import importlib.util
import json
import platform
import sys
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from parley_cli.messages import message
from parley_cli.profiles import Profile, child_specs
from parley_cli.running import FAILED, run, words_for
from parley_cli.screen import print_whole, printable
from parley_cli.supervisor import SupervisorError, check_ports
from parley_client import Fault, Parley


@dataclass(frozen=True, slots=True)
class Finding:
    """is_good None: not needed, only said."""

    subject: str
    is_good: bool | None
    text: str


def doctor(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Check this machine and the gateway. Exit code 1 when something is broken."""
    run(_doctor(as_json))


async def _doctor(as_json: bool) -> None:
    findings = await _examine()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        _print(findings)
    if any(finding.is_good is False for finding in findings):
        raise typer.Exit(FAILED)


def _print(findings: list[Finding]) -> None:
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        mark, style = {True: ("ok", "green"), False: ("!!", "red"), None: ("--", "dim")}[finding.is_good]
        table.add_row(Text(f"  {mark}", style), finding.subject, Text(printable(finding.text)))
    print_whole(table)


async def _examine() -> list[Finding]:
    version = sys.version_info
    python = message("doctor_python", version=platform.python_version(), machine=platform.machine())
    findings = [Finding("python", (3, 11) <= version < (3, 14), python), _microphone()]
    async with Parley() as parley:
        try:
            status = await parley.status()
        except Fault as fault:
            return [*findings, Finding("gateway", False, words_for(fault)), _ports()]
    gateway = message(
        "doctor_gateway",
        version=status.version,
        address=parley.target,
        count=status.session_count,
        limit=status.session_limit,
    )
    findings.append(Finding("gateway", True, gateway))
    for service in status.services:
        languages = ", ".join(service.language_codes)
        text = f"{service.default_model} ({languages})" if languages else service.default_model
        if not service.is_serving:
            advice = message("doctor_see_ollama" if service.service == "llm" else "doctor_see_log")
            text = message("doctor_away", advice=advice)
        findings.append(Finding(service.service, service.is_serving, text))
    store = message("doctor_stored" if status.is_store_available else "doctor_store_away")
    findings.append(Finding("store", status.is_store_available, f"{status.store}: {store}"))
    return findings


def _ports() -> Finding:
    """Whether 'parley up' could start here."""
    try:
        check_ports(child_specs(Profile.EMBEDDED, any_port=False))
    except SupervisorError as error:
        return Finding("ports", None, str(error))
    return Finding("ports", True, message("doctor_ports_free"))


def _microphone() -> Finding:
    if importlib.util.find_spec("sounddevice") is None:
        return Finding("microphone", None, message("doctor_no_sounddevice"))
    try:
        import sounddevice  # noqa: PLC0415 - fails at import where PortAudio is missing
    except OSError:
        return Finding("microphone", None, message("doctor_no_portaudio"))
    has_input = any(device["max_input_channels"] > 0 for device in sounddevice.query_devices())
    found = message("doctor_microphone" if has_input else "doctor_no_microphone")
    return Finding("microphone", has_input or None, found)
