"""`parley chat`: a typed conversation."""

import asyncio
import sys
from typing import Annotated

import typer

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley_cli.commands.talk import ConversationOption, JsonOption, PersonaOption, conversation_config
from parley_cli.console import Captions, out, print_json
from parley_client import LiveConversation, Parley


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
        if text:
            await _exchange(conversation, text, as_json)
        else:
            is_person = sys.stdin.isatty() and not as_json
            while (line := await asyncio.to_thread(_read_line, is_person)) is not None:
                if line.strip():
                    await _exchange(conversation, line, as_json)
        await conversation.end()
        if not as_json:
            out.print(f"\n  go on with --conversation {conversation.ready.conversation_id}", style="dim")


def _read_line(is_person: bool) -> str | None:
    if is_person:
        print("  you ▸ ", end="", flush=True)
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None


async def _exchange(conversation: LiveConversation, text: str, as_json: bool) -> None:
    """One typed turn and what comes of it."""
    captions = Captions()
    await conversation.send_text(text)
    async for response in conversation:
        if as_json:
            print_json(response)
        else:
            captions.show(response)
        kind = response.WhichOneof("response")
        if kind == "reply_ended" or (kind == "error" and not response.error.reply_id):
            return
