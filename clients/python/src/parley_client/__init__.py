"""Asynchronous client of a Parley gateway.

    async with Parley("127.0.0.1:50050") as parley:
        async with parley.converse() as conversation:
            await conversation.send_text("hello there")
            async for response in conversation:
                ...

Messages are those of the protos; failures are `Fault` with a reason, a message and, where it helps, when to try again.
"""

from parley_client.client import DEFAULT_TARGET, Parley
from parley_client.conversation import LiveConversation
from parley_servicekit.faults import Fault

__all__ = ["DEFAULT_TARGET", "Fault", "LiveConversation", "Parley"]
