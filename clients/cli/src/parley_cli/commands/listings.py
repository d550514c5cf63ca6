"""`parley voices`, `parley models`, `parley personas`: what there is."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from parley_cli.messages import headings, message
from parley_cli.running import run
from parley_cli.screen import out, print_table
from parley_client import Fault, Parley

voices_app = typer.Typer(help="Voices of the synthesis service.", no_args_is_help=True)
models_app = typer.Typer(help="Models of the services.", no_args_is_help=True)
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]
_LANGUAGES_SHOWN_COUNT = 3


@voices_app.command("list")
def list_voices(
    language: Annotated[str, typer.Option(help="only voices for this language, such as en or zh")] = "",
    as_json: JsonOption = False,
) -> None:
    """List voices, the default one first."""

    async def command() -> None:
        async with Parley() as parley:
            voices = [voice for voice in await parley.voices() if _speaks(voice.language_codes, language)]
        if as_json:
            _print_json(voices)
            return
        if not voices:
            raise Fault.not_found("NO_VOICE", message("no_voice", language=language))
        rows = [(voice.name, _shortened(voice.language_codes), voice.description) for voice in voices]
        print_table(headings("voice", "languages", "description"), rows)
        if out.is_terminal and len(rows) > out.height and not language:
            out.print(f"\n  {message('many_voices', count=len(rows))}", style="dim")

    run(command())


@models_app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models of all three services, each service's default first."""

    async def command() -> None:
        async with Parley() as parley:
            models = await parley.models()
        if as_json:
            print(json.dumps({name: [_as_dict(model) for model in each] for name, each in models.items()}))
            return
        rows = [
            (
                service,
                model.name,
                _shortened(model.language_codes),
                _size(model.size_bytes),
                model.description,
            )
            for service, each in models.items()
            for model in each
        ]
        print_table(headings("service", "model", "languages", "size", "description"), rows)

    run(command())


def personas(as_json: JsonOption = False) -> None:
    """List who can answer, the default one first."""

    async def command() -> None:
        async with Parley() as parley:
            found = await parley.personas()
        if as_json:
            _print_json(found)
            return
        print_table(headings("persona", "what_it_does"), [(each.name, each.description) for each in found])

    run(command())


def _speaks(codes: Sequence[str], language: str) -> bool:
    return not language or any(code.lower().split("-")[0] == language.lower().split("-")[0] for code in codes)


def _shortened(codes: Sequence[str]) -> str:
    """The first few languages: some engines know a hundred."""
    more_count = len(codes) - _LANGUAGES_SHOWN_COUNT
    return ", ".join(codes[:_LANGUAGES_SHOWN_COUNT]) + (
        f" {message('and_more', count=more_count)}" if more_count > 0 else ""
    )


def _print_json(messages: Sequence[Any]) -> None:
    print(json.dumps([_as_dict(message) for message in messages], ensure_ascii=False))


def _as_dict(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes else ""
