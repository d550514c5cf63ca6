"""What a conversation comes to for scripts: the first thing in it that failed decides the exit code."""

import typer

from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli.running import DONE, exit_code_of
from parley_servicekit.grpc_faults import fault_from_status


class Outcome:
    """Watches the responses of a conversation, whose failed turns are events and do not end it."""

    def __init__(self) -> None:
        self.exit_code = DONE

    def take(self, response: pb2.ConverseResponse) -> None:
        """Look at a response."""
        if self.exit_code == DONE and response.HasField("error"):
            self.exit_code = exit_code_of(fault_from_status(response.error.status))

    def leave(self) -> None:
        """Raises typer.Exit when something failed; it has been shown as it happened."""
        if self.exit_code != DONE:
            raise typer.Exit(self.exit_code)
