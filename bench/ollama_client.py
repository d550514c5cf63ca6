"""A process that does nothing but talk to an Ollama server through the `ollama` package, as simple programs do.

`bench.chat_cost` runs it: `python -m bench.ollama_client URL MODEL STREAM_COUNT TOKEN_COUNT`. It prints one JSON line
with the tokens that came and the CPU seconds that they took this process, without its start.
"""

import asyncio
import json
import sys
import time
from typing import Any


async def answer(client: Any, model: str, token_count: int) -> int:
    """Read one answer to its end; how many deltas had text."""
    messages = [{"role": "user", "content": "go on"}]
    stream = await client.chat(model, messages, stream=True, options={"num_predict": token_count})
    count = 0
    async for part in stream:
        count += bool(part.message.content)
    return count


async def _measure(url: str, model: str, stream_count: int, token_count: int) -> None:
    import ollama  # noqa: PLC0415 - an optional package

    client: Any = ollama.AsyncClient(host=url)
    await answer(client, model, 4)  # the first connection and all imports are not counted
    began_s = time.process_time()
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(answer(client, model, token_count), name=f"answer.{index}")
            for index in range(stream_count)
        ]
    used_s = time.process_time() - began_s
    await client.close()
    print(json.dumps({"tokens": sum(task.result() for task in running), "cpu_s": used_s}))


if __name__ == "__main__":
    asyncio.run(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
