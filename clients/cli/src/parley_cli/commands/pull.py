"""`parley models pull`: fetch speech models and have Ollama fetch its own."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import platformdirs
import typer
from rich.filesize import decimal

from parley_cli.messages import headings, message
from parley_cli.pulling.catalogue import Kind, ModelEntry, read_catalogue
from parley_cli.pulling.disk import locked
from parley_cli.pulling.download import Patience
from parley_cli.pulling.faults import PullError
from parley_cli.pulling.installing import Surroundings, install
from parley_cli.pulling.ollama import OllamaServer
from parley_cli.pulling.progress import PullProgress
from parley_cli.pulling.usage import variables
from parley_cli.running import DONE, complain, run
from parley_cli.screen import err, out, print_table, printable

_DEFAULT_OLLAMA_URL = "http://127.0.0.1:11434"
_SHOWN_DIGEST_CHARS = 16


@dataclass(frozen=True, slots=True)
class _Told:
    """One model's line of JSON. outcome: fetched, present or failed (with `reason`)."""

    name: str
    kind: str
    outcome: str
    licence: str
    folder: str = ""
    sha256: str = ""
    is_sha256_from_catalogue: bool = False
    reason: str = ""
    exit_code: int = DONE

    def as_dict(self) -> dict[str, Any]:
        """Without what does not apply."""
        return {key: value for key, value in asdict(self).items() if value != "" and key != "exit_code"}


def pull(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="models; none: the default ones")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="where models go (default: the user's data folder)", file_okay=False)
    ] = None,
    ollama_url: Annotated[
        str, typer.Option(envvar="PARLEY_LLM_OLLAMA_URL", show_envvar=False, help="Ollama's address")
    ] = _DEFAULT_OLLAMA_URL,
    catalogue: Annotated[
        Path | None, typer.Option(help="a catalogue of your own, such as for a mirror", dir_okay=False)
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="say what there is, fetch nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Fetch models: recogniser, voice activity, voice, chat model.

    What is there already is left alone; what broke off is gone on with.
    PARLEY_OLLAMA_MODEL names another chat model.
    """
    chosen_folder = (folder or default_folder()).absolute()
    try:
        known = read_catalogue(catalogue, os.environ.get("PARLEY_OLLAMA_MODEL", ""))
        if only_list:
            entries = list(known.models) if not names else known.chosen(names)
            _list(entries, chosen_folder, as_json)
            return
        entries = known.chosen(names or [])
        ollama = OllamaServer(ollama_url, Patience())
    except PullError as error:
        complain(error.words)
        raise typer.Exit(error.exit_code) from None
    # A container's first process would not even notice SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    run(_pull(entries, chosen_folder, ollama, as_json))


def default_folder() -> Path:
    """Where models go when nobody says otherwise."""
    base = os.environ.get("PARLEY_HOME")
    return Path(base) / "models" if base else platformdirs.user_data_path("parley") / "models"


async def _pull(entries: list[ModelEntry], folder: Path, ollama: OllamaServer, as_json: bool) -> None:
    needs_folder = any(entry.kind is not Kind.OLLAMA for entry in entries)
    try:
        with locked(folder) if needs_folder else contextlib.nullcontext(), PullProgress(err) as progress:
            told = [await _pull_one(entry, folder, ollama, progress, as_json) for entry in entries]
    except PullError as error:
        complain(error.words)
        raise typer.Exit(error.exit_code) from None
    except asyncio.CancelledError:
        complain(message("pull_kept"))
        raise
    settings: dict[str, str] = {}
    for entry, one in zip(entries, told, strict=True):
        if one.exit_code == DONE:
            settings |= variables(entry, folder / entry.name)
    if as_json:
        models = [one.as_dict() for one in told]
        print(json.dumps({"models": models, "variables": settings}, ensure_ascii=False))
    elif settings:
        out.print(f"\n  {message('pull_set')}")
        for name, value in settings.items():
            out.print(f"    {name}={shlex.quote(value)}", soft_wrap=True)
    exit_code = next((one.exit_code for one in told if one.exit_code != DONE), DONE)
    if exit_code != DONE:
        raise typer.Exit(exit_code)


async def _pull_one(
    entry: ModelEntry, folder: Path, ollama: OllamaServer, progress: PullProgress, as_json: bool
) -> _Told:
    """Fetch one and tell it. One that cannot be had does not keep the others away."""
    progress.begin(entry.name)
    one = _Told(entry.name, entry.kind, "present", entry.licence)
    try:
        if entry.kind is Kind.OLLAMA:
            is_new = await ollama.pull(entry.name, progress.moved)
            one = replace(one, outcome="fetched" if is_new else "present")
        else:
            around = Surroundings(progress.moved, progress.checking, Patience())
            installed = await install(entry, folder, around)
            one = replace(
                one,
                outcome="fetched" if installed.is_new else "present",
                folder=str(installed.path),
                sha256=installed.sha256,
                is_sha256_from_catalogue=installed.is_sha256_from_catalogue,
            )
    except PullError as error:
        complain(error.words)
        one = replace(one, outcome="failed", reason=error.reason, exit_code=error.exit_code)
    finally:
        progress.end()
    if not as_json:
        _print(one)
    return one


def _print(one: _Told) -> None:
    if one.outcome == "present":
        text = message("pull_present", name=one.name)
    elif one.outcome == "fetched":
        key = "pull_fetched" if one.folder else "pull_ollama_fetched"
        text = message(key, name=one.name, folder=one.folder, licence=one.licence)
    else:
        return
    out.print(f"  {printable(text)}", soft_wrap=True)
    if one.outcome == "fetched" and one.sha256 and not one.is_sha256_from_catalogue:
        digest = one.sha256[:_SHOWN_DIGEST_CHARS]
        out.print(f"    {message('pull_digest_recorded', digest=digest)}", style="dim", soft_wrap=True)


def _list(entries: list[ModelEntry], folder: Path, as_json: bool) -> None:
    there = {
        entry.name for entry in entries if entry.kind is not Kind.OLLAMA and (folder / entry.name).is_dir()
    }
    if as_json:
        told = [entry.model_dump(mode="json") | {"is_there": entry.name in there} for entry in entries]
        print(json.dumps({"folder": str(folder), "models": told}, ensure_ascii=False))
        return
    rows = []
    for entry in entries:
        marks = [message("pull_is_default")] * entry.is_default + [message("pull_is_there")] * (
            entry.name in there
        )
        size = decimal(entry.size_bytes) if entry.size_bytes else ""
        if size and not entry.is_size_exact:
            size = message("pull_about", size=size)
        rows.append(
            (
                entry.name,
                entry.kind,
                ", ".join(entry.languages),
                size,
                entry.licence,
                ", ".join(marks),
                entry.description,
            )
        )
    print_table(
        (*headings("model", "service", "languages", "size", "licence"), "", *headings("description")), rows
    )
