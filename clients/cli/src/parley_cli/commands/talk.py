"""`parley talk`: a spoken conversation, with a sound file or with microphone and loudspeaker."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli import microphone
from parley_cli.captions import Captions, print_json
from parley_cli.messages import message
from parley_cli.outcome import Outcome
from parley_cli.running import complain, run
from parley_cli.screen import out
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
    latency: Annotated[
        bool, typer.Option("--latency", help="after each reply show where the milliseconds went")
    ] = False,
    fast: Annotated[bool, typer.Option("--fast", help="speak the file faster than real time")] = False,
) -> None:
    """Talk, aloud or with sound files.

    Without --input the microphone listens and the loudspeaker answers.

    A file is spoken in real time, and waits while a reply goes on. Files: WAV, FLAC or OGG, up to an hour.
    """
    if latency and as_json:
        raise typer.BadParameter(
            "with --json the milliseconds are in reply_ended already; leave --latency out"
        )
    config = conversation_config(conversation, persona)
    captions = Captions(shows_latency=latency)
    if input_file is None:
        if output_file is not None or fast:
            raise typer.BadParameter("--output and --fast go with --input")
        run(_talk_aloud(config, captions, as_json))
    else:
        run(_talk_file(config, captions, input_file, output_file, as_json, fast))


def conversation_config(conversation: str, persona: str) -> config_pb2.ConversationConfig:
    """The config for a conversation by id (empty: a new one) and persona (empty: the gateway's default)."""
    config = config_pb2.ConversationConfig(conversation_id=conversation)
    if persona:
        config.persona = persona
    return config


async def _talk_file(
    config: config_pb2.ConversationConfig,
    captions: Captions,
    source: Path,
    target: Path | None,
    as_json: bool,
    fast: bool,
) -> None:
    outcome = Outcome()

    def show(response: pb2.ConverseResponse, at_ms: float) -> None:
        outcome.take(response)
        if as_json:
            print_json(response, at_ms=round(at_ms, 1))
        else:
            captions.show(response)

    try:
        spoken = await asyncio.to_thread(SpokenFile, source, is_fast=fast, show=show)
        async with Parley() as parley:
            await spoken.speak(parley, config, target)
    finally:
        captions.end_line()
    if not as_json:
        if spoken.turn_count == 0:
            complain(message("nothing_understood", file=source))
        print_how_to_continue(spoken.conversation_id, "talk")
        if target is not None:
            out.print(f"  {message('replies_written', file=target)}")
    outcome.leave()


def print_how_to_continue(conversation_id: str, command: str) -> None:
    """The last line of a conversation."""
    go_on = message("go_on", command=command, conversation=conversation_id)
    out.print(f"\n  {go_on}", style="dim", soft_wrap=True)


async def _talk_aloud(config: config_pb2.ConversationConfig, captions: Captions, as_json: bool) -> None:
    outcome = Outcome()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)

    def show(response: pb2.ConverseResponse) -> None:
        outcome.take(response)
        if as_json:
            print_json(response)
            return
        if response.HasField("ready"):
            out.print(f"  {message('speak')}")
            out.print(f"  {message('headset')}\n", style="dim")
        captions.show(response)

    async with Parley() as parley:
        conversation_id = await microphone.talk(parley, config, show, stop)
    captions.end_line()
    if not as_json:
        print_how_to_continue(conversation_id, "talk")
    outcome.leave()
