"""`parley chat`: a typed conversation."""

import asyncio
import sys
from typing import Annotated

import typer

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley_cli.commands.talk import ConversationOption, JsonOption, PersonaOption, conversation_config
from parley_cli.console import Captions, out, print_json
from parley_client import LiveConversation, Parley
from parley_servicekit.faults import FaultCode


def chat(
    text: Annotated[str, typer.Argument(help="say this and print the answer; empty: read lines")] = "",
    as_json: JsonOption = False,
    conversation: ConversationOption = "",
    persona: PersonaOption = "",
) -> None:
    """Type with Parley."""
    config = conversation_config(conversation, persona)
    config.output_modes.append(config_pb2.OUTPUT_MODE_TEXT)
    asyncio.run(_chat(text, config, as_json))


async def _chat(text: str, config: config_pb2.ConversationConfig, as_json: bool) -> None:
    async with Parley() as parley, parley.converse(config) as conversation:
        is_answered = True
        if text:
            is_answered = await _exchange(conversation, text, as_json)
        else:
            is_person = sys.stdin.isatty() and not as_json
            while (line := await asyncio.to_thread(_read_line, is_person)) is not None:
                if line.strip():
                    await _exchange(conversation, line, as_json)
        await conversation.end()
        if not as_json:
            out.print(f"\n  go on with --conversation {conversation.ready.conversation_id}", style="dim")
    if not is_answered:
        raise typer.Exit(1)


def _read_line(is_person: bool) -> str | None:
    if is_person:
        print("  you ▸ ", end="", flush=True)
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None


async def _exchange(conversation: LiveConversation, text: str, as_json: bool) -> bool:
    """One typed turn and what comes of it. Whether it was answered; the error that says why not is shown."""
    captions = Captions()
    await conversation.send_text(text)
    async for response in conversation:
        if as_json:
            print_json(response)
        else:
            captions.show(response)
        match response.WhichOneof("response"):
            case "reply_ended" if response.reply_ended.outcome != events_pb2.REPLY_OUTCOME_FAILED:
                return True
            # That recognition is away is an error too, but does not matter to who types.
            case "error" if (
                response.error.reply_id or response.error.status.code == FaultCode.INVALID_ARGUMENT.value
            ):
                return False
    return False
