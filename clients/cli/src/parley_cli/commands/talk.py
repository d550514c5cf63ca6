"""`parley talk`: a spoken conversation, with a sound file or with microphone and loudspeaker."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli import microphone
from parley_cli.console import Captions, err, out, print_json
from parley_cli.spoken_file import SpokenFile
from parley_client import Parley

ConversationOption = Annotated[str, typer.Option("--conversation", help="continue this conversation")]
PersonaOption = Annotated[str, typer.Option("--persona", help="who answers; see 'parley personas'")]
JsonOption = Annotated[bool, typer.Option("--json", help="print every response as a JSON line")]


def talk(
    input_file: Annotated[
        Path | None,
        typer.Option("--input", help="speak this WAV file instead of using the microphone", dir_okay=False),
    ] = None,
    output_file: Annotated[
        Path | None, typer.Option("--output", help="write the replies to this WAV file", dir_okay=False)
    ] = None,
    as_json: JsonOption = False,
    conversation: ConversationOption = "",
    persona: PersonaOption = "",
    fast: Annotated[bool, typer.Option("--fast", help="speak the file faster than real time")] = False,
) -> None:
    """Talk with Parley."""
    config = conversation_config(conversation, persona)
    if input_file is None:
        if output_file is not None or fast:
            raise typer.BadParameter("--output and --fast go with --input")
        asyncio.run(_talk_aloud(config, as_json))
    else:
        asyncio.run(_talk_file(config, input_file, output_file, as_json, fast))


def conversation_config(conversation: str, persona: str) -> config_pb2.ConversationConfig:
    """The config for a conversation by id (empty: a new one) and persona (empty: the gateway's default)."""
    config = config_pb2.ConversationConfig(conversation_id=conversation)
    if persona:
        config.persona = persona
    return config


async def _talk_file(
    config: config_pb2.ConversationConfig, source: Path, target: Path | None, as_json: bool, fast: bool
) -> None:
    captions = Captions()

    def show(response: pb2.ConverseResponse, at_ms: float) -> None:
        if as_json:
            print_json(response, at_ms=round(at_ms, 1))
        else:
            captions.show(response)

    spoken = SpokenFile(source, is_fast=fast, show=show)
    async with Parley() as parley:
        await spoken.speak(parley, config, target)
    if not as_json:
        _say_how_it_went(spoken, source, target)
    if spoken.error_count:
        raise typer.Exit(1)


def _say_how_it_went(spoken: SpokenFile, source: Path, target: Path | None) -> None:
    if spoken.turn_count == 0:
        err.print(f"parley: nothing was understood in {source}", markup=False)
    out.print(f"\n  go on with --conversation {spoken.conversation_id}")
    if target is not None:
        out.print(f"  replies written to {target}", markup=False)


async def _talk_aloud(config: config_pb2.ConversationConfig, as_json: bool) -> None:
    captions = Captions()
    if not as_json:
        out.print("  speak; Ctrl-C ends the conversation (use a headset: without one Parley hears itself)\n")
    async with Parley() as parley:
        await microphone.talk(parley, config, print_json if as_json else captions.show)
