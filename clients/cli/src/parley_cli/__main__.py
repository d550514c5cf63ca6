"""`parley`: the command line. One module a command; here they are put together."""

import sys
from io import TextIOWrapper

import typer

from parley_cli.commands import chat, conversations, doctor, listings, pull, say, talk, top, transcribe, up

app = typer.Typer(
    name="parley",
    help="""Talk with machines you own.

    Begin with 'parley up' (it keeps running), then in another terminal 'parley talk' or 'parley chat'.
    """,
    epilog="""PARLEY_GATEWAY=host:port says where the gateway is (default: this machine).
    Exit codes: 0 done, 1 the service failed, 2 wrong use.""",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(up.up)
app.command("demo")(up.demo)
app.command("talk")(talk.talk)
app.command("chat")(chat.chat)
app.command("say")(say.say)
app.command("transcribe")(transcribe.transcribe)
app.add_typer(listings.voices_app, name="voices")
listings.models_app.command("pull")(pull.pull)
app.add_typer(listings.models_app, name="models")
app.command("personas")(listings.personas)
app.add_typer(conversations.app, name="conversations")
app.command("top")(top.top)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run a command; exit 0 when done, 1 when a service failed, 2 when it was used wrongly."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Where the locale's encoding lacks a character, a question mark is better than no answer.
            stream.reconfigure(errors="replace")
    app()


if __name__ == "__main__":
    main()
