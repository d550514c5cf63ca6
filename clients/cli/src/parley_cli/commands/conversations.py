"""`parley conversations`: what was said before."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from rich.text import Text

from parley.gateway.v1 import history_service_pb2 as history_pb2
from parley_cli.captions import heading
from parley_cli.messages import headings, message
from parley_cli.running import run
from parley_cli.screen import FlowingText, out, print_table
from parley_client import Parley

app = typer.Typer(help="Stored conversations.", no_args_is_help=True)
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]
IdArgument = Annotated[str, typer.Argument(help="conversation id, as 'parley conversations list' shows it")]


@app.command("list")
def list_conversations(
    count: Annotated[int, typer.Option("-n", help="how many", min=1, max=1000)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List conversations, the latest first."""

    async def command(parley: Parley) -> None:
        page = await parley.list_conversations(count)
        if as_json:
            _print_json(page)
            return
        if not page.conversations:
            out.print(f"  {message('no_conversations')}")
            return
        rows = [
            (each.conversation_id, _local_time(each), each.persona, each.title) for each in page.conversations
        ]
        print_table(headings("conversation", "begun", "persona", "title"), rows)
        if page.next_page_token:
            out.print(f"  {message('more_conversations', count=min(2 * count, 1000))}", style="dim")

    _with_parley(command)


@app.command("show")
def show(conversation_id: IdArgument, as_json: JsonOption = False) -> None:
    """Show what was said in a conversation."""

    async def command(parley: Parley) -> None:
        found = await parley.get_conversation(conversation_id)
        if as_json:
            _print_json(found)
            return
        for turn in found.turns:
            offset_s = turn.start_offset.ToTimedelta().total_seconds()
            name = heading("you" if turn.speaker == history_pb2.SPEAKER_USER else "parley")
            said = FlowingText(out, Text.assemble((f"{offset_s:8.1f} s", "dim"), name))
            said.write(turn.text + (" …" if turn.was_interrupted else ""))
            said.end()

    _with_parley(command)


@app.command("rename")
def rename(conversation_id: IdArgument, title: Annotated[str, typer.Argument(help="its new title")]) -> None:
    """Give a conversation a title."""

    async def command(parley: Parley) -> None:
        await parley.rename_conversation(conversation_id, title)
        out.print(f"  {message('renamed')}")

    _with_parley(command)


@app.command("delete")
def delete(conversation_id: IdArgument) -> None:
    """Delete a conversation for good."""

    async def command(parley: Parley) -> None:
        await parley.delete_conversation(conversation_id)
        out.print(f"  {message('deleted')}")

    _with_parley(command)


def _with_parley(command: Callable[[Parley], Awaitable[None]]) -> None:
    async def connected() -> None:
        async with Parley() as parley:
            await command(parley)

    run(connected())


def _local_time(conversation: history_pb2.Conversation) -> str:
    return conversation.create_time.ToDatetime(UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _print_json(message: history_pb2.ListConversationsResponse | history_pb2.GetConversationResponse) -> None:
    print(json.dumps(MessageToDict(message, preserving_proto_field_name=True), ensure_ascii=False))
