"""`parley chat`: a typed conversation."""

import sys
from contextlib import aclosing
from typing import Annotated

import typer

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli.captions import Captions, heading, print_json
from parley_cli.commands.talk import (
    ConversationOption,
    JsonOption,
    PersonaOption,
    conversation_config,
    print_how_to_continue,
)
from parley_cli.messages import message
from parley_cli.outcome import Outcome
from parley_cli.running import run
from parley_cli.screen import out
from parley_cli.typed_lines import typed_lines
from parley_client import LiveConversation, Parley
from parley_servicekit.faults import FaultCode

# What the end of a failed reply means is said by the error that follows it.
_ANSWERED = (events_pb2.REPLY_OUTCOME_COMPLETED, events_pb2.REPLY_OUTCOME_INTERRUPTED)


def chat(
    text: Annotated[str, typer.Argument(help="say this and print the answer; empty: read lines")] = "",
    as_json: JsonOption = False,
    conversation: ConversationOption = "",
    persona: PersonaOption = "",
) -> None:
    """Type, and read the answer.

    Without TEXT a conversation: each line, typed or from a pipe, is a turn.
    """
    config = conversation_config(conversation, persona)
    config.output_modes.append(config_pb2.OUTPUT_MODE_TEXT)
    run(_chat(text, config, as_json))


async def _chat(text: str, config: config_pb2.ConversationConfig, as_json: bool) -> None:
    outcome = Outcome()
    is_person = sys.stdin.isatty() and not as_json
    async with Parley() as parley, parley.converse(config) as conversation:
        if text:
            await _exchange(conversation, text, as_json, outcome)
        else:
            if is_person:
                out.print(f"  {message('type')}\n", style="dim")
            await _exchange_lines(conversation, is_person, as_json, outcome)
            if is_person:
                out.print()  # the prompt that Ctrl-D was the answer to
        await conversation.end()
    if not as_json:
        print_how_to_continue(conversation.ready.conversation_id, "chat")
    outcome.leave()


async def _exchange_lines(
    conversation: LiveConversation, is_person: bool, as_json: bool, outcome: Outcome
) -> None:
    _prompt(is_person)
    async with aclosing(typed_lines()) as lines:
        async for line in lines:
            if line.strip():
                await _exchange(conversation, line, as_json, outcome)
            _prompt(is_person)


def _prompt(is_person: bool) -> None:
    if is_person:
        out.print(heading("you"), end="", soft_wrap=True)
        out.file.flush()


async def _exchange(conversation: LiveConversation, text: str, as_json: bool, outcome: Outcome) -> None:
    """One typed turn and what comes of it."""
    captions = Captions()
    await conversation.send_text(text)
    async for response in conversation:
        if as_json:
            print_json(response)
        else:
            captions.show(response)
        if _is_refusal(response):
            outcome.take(response)
            return
        if response.reply_ended.outcome in _ANSWERED:
            return


def _is_refusal(response: pb2.ConverseResponse) -> bool:
    """Whether this turn will not be answered. That recognition is away is an error too, but not for who types."""
    error = response.error
    return bool(error.reply_id) or error.status.code == FaultCode.INVALID_ARGUMENT.value
