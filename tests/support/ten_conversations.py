"""Runs in a container beside the gateways: ten conversations at one name, one of whose gateways is stopped meanwhile.

Prints "live" when all hear a reply, then a JSON list with what became of each. Started by tests/compose.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley_client import LiveConversation, Parley
from parley_servicekit.faults import Fault

_COUNT = 10
_PATIENCE_S = 80.0
_RETRY_S = 0.3
_QUESTIONS = ("tell me a story about the sea", "and what happens then")


class Conversation:
    """One of them. outcomes: of its replies, in order; faults: why sessions ended."""

    def __init__(self, target: str, audible: asyncio.Barrier) -> None:
        self._target = target
        self._audible = audible
        self._is_audible = False
        self._id = ""
        self.outcomes: list[str] = []
        self.faults: list[str] = []
        self.was_asked_to_leave = False
        self.stored: list[str] = []

    async def run(self) -> None:
        """Ask both questions, in a new session where the old one ends; then read what is stored."""
        while len(self.outcomes) < len(_QUESTIONS):
            await self._try(lambda: self._session(list(_QUESTIONS[len(self.outcomes) :])))
        while not self.stored:
            await self._try(self._read)

    async def _try(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """A gateway that is going away still has its address in the name for a while, and refuses what is new."""
        try:
            await attempt()
        except Fault as fault:
            self.faults.append(fault.reason)
            await asyncio.sleep(_RETRY_S)

    async def _read(self) -> None:
        async with Parley(self._target) as parley:
            turns = (await parley.get_conversation(self._id)).turns
        self.stored = [turn.text for turn in turns if turn.text in _QUESTIONS]

    async def _session(self, questions: list[str]) -> None:
        config = config_pb2.ConversationConfig(conversation_id=self._id)
        async with Parley(self._target) as parley, parley.converse(config) as conversation:
            self._id = conversation.ready.conversation_id
            await conversation.send_text(questions.pop(0))
            await self._listen(conversation, questions)

    async def _listen(self, conversation: LiveConversation, questions: list[str]) -> None:
        is_asked_to_leave = False
        async for response in conversation:
            if response.HasField("draining"):
                is_asked_to_leave = self.was_asked_to_leave = True
            elif response.HasField("reply_audio") and not self._is_audible:
                self._is_audible = True
                await self._audible.wait()
            elif response.HasField("reply_ended"):
                outcome = events_pb2.ReplyOutcome.Name(response.reply_ended.outcome)
                self.outcomes.append(outcome.removeprefix("REPLY_OUTCOME_"))
                if is_asked_to_leave or not questions:
                    return
                await conversation.send_text(questions.pop(0))


async def main(target: str) -> None:
    """Run them all."""
    audible = asyncio.Barrier(_COUNT + 1)
    conversations = [Conversation(target, audible) for _ in range(_COUNT)]
    try:
        async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as tasks:
            for number, conversation in enumerate(conversations):
                tasks.create_task(conversation.run(), name=f"conversation.{number}")
            await audible.wait()
            print("live", flush=True)
    except TimeoutError:
        print("too slow", file=sys.stderr)
    told = ("outcomes", "faults", "was_asked_to_leave", "stored")
    print(json.dumps([{name: getattr(each, name) for name in told} for each in conversations]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
