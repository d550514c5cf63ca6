"""`parley conversations`: what was said before."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from rich.table import Table
from rich.text import Text

from parley.gateway.v1 import history_service_pb2 as history_pb2
from parley_cli.console import out
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
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("conversation", "begun", "persona", "title"):
            table.add_column(heading)
        for each in page.conversations:
            begun = each.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M")
            table.add_row(each.conversation_id, begun, each.persona, each.title)
        out.print(table)

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
            name = "you" if turn.speaker == history_pb2.SPEAKER_USER else "parley"
            offset_s = turn.start_offset.ToTimedelta().total_seconds()
            mark = " …" if turn.was_interrupted else ""
            out.print(
                Text.assemble((f"  {offset_s:7.1f} s  ", "dim"), (f"{name:>6} ▸ ", "bold"), turn.text, mark)
            )

    _with_parley(command)


@app.command("rename")
def rename(conversation_id: IdArgument, title: str) -> None:
    """Give a conversation a title."""
    _with_parley(lambda parley: parley.rename_conversation(conversation_id, title))


@app.command("delete")
def delete(conversation_id: IdArgument) -> None:
    """Delete a conversation for good."""
    _with_parley(lambda parley: parley.delete_conversation(conversation_id))


def _with_parley(command: Callable[[Parley], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Parley() as parley:
            await command(parley)

    asyncio.run(run())


def _print_json(message: history_pb2.ListConversationsResponse | history_pb2.GetConversationResponse) -> None:
    print(json.dumps(MessageToDict(message, preserving_proto_field_name=True), ensure_ascii=False))
