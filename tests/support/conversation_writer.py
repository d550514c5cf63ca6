"""A process that appends turns until it is killed: `python conversation_writer.py KIND TARGET SPOOL ID FENCE [LIMIT]`.

KIND: sqlite (TARGET a file), redis (TARGET a URL); SPOOL: a file for the queue, or `-` for none. It prints the
number of each turn once that is stored, or the reason why it was not. LIMIT: most bytes that a file may have, like
a full disk.
"""

import asyncio
import resource
import sys
from pathlib import Path

from parley_gateway.adapters.queueing_conversations import QueueingConversations
from parley_gateway.adapters.redis_conversations import RedisConversations
from parley_gateway.adapters.sqlite_conversations import SqliteConversations
from parley_gateway.ports import ConversationStore
from parley_servicekit.faults import Fault
from parley_servicekit.logs import configure_logs
from support.conversation_samples import turn


async def main(kind: str, target: str, spool: str, conversation_id: str, fence: str, limit: str = "") -> None:
    store: ConversationStore = (
        RedisConversations(target) if kind == "redis" else SqliteConversations(Path(target))
    )
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    async with asyncio.TaskGroup() as tasks:
        if spool != "-":
            queue = await QueueingConversations.over(store, Path(spool))
            tasks.create_task(queue.run(), name="queue")
            store = queue
        number = 0
        while True:
            try:
                await store.append(conversation_id, int(fence), [turn(number, "x" * 300)])
            except Fault as fault:
                print(fault.reason, fault.metadata.get("cause"), flush=True)
                return
            print(number, flush=True)
            number += 1


if __name__ == "__main__":
    configure_logs("writer")
    asyncio.run(main(*sys.argv[1:]))
