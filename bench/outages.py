"""`Outage`: something goes away for a while. Planned from a seed, done to a stack and its proxies. For `chaos`."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.proxy import Proxy, proxied
from bench.stack import Stack, choose_ports, running_stack
from tests.support.redis_server import RedisServer

Target = Literal["asr", "llm", "tts", "redis"]
Kind = Literal["kill", "freeze", "partition"]
TARGETS: tuple[Target, ...] = ("asr", "llm", "tts", "redis")
KINDS: tuple[Kind, ...] = ("kill", "freeze", "partition")


@dataclass(frozen=True, slots=True)
class Outage:
    """at_s: from the beginning of the plan; length_s: of a freeze or partition, and how long a killed Redis is away."""

    target: Target
    kind: Kind
    at_s: float
    length_s: float


@dataclass(frozen=True, slots=True)
class Suffered:
    """An outage as it was: began and over on the monotonic clock; over: it was back, or let go."""

    outage: Outage
    began_at_s: float
    over_at_s: float


def plan_outages(seed: int, round_count: int, spacing_s: float, *, one_kind_each: bool) -> tuple[Outage, ...]:
    """Rounds of every kind for every target (or one kind for each), in any order, about spacing_s apart."""
    chance = random.Random(f"{seed} outages")
    chosen: list[tuple[Target, Kind]] = []
    for _ in range(round_count):
        pairs = [(target, kind) for target in TARGETS for kind in KINDS]
        if one_kind_each:
            # Not kill alone, not freeze alone: every kind comes, whichever target it meets.
            kinds = [*KINDS, chance.choice(KINDS)]
            chance.shuffle(kinds)
            pairs = list(zip(TARGETS, kinds, strict=True))
        chance.shuffle(pairs)
        chosen += pairs
    return tuple(
        Outage(
            target,
            kind,
            round((index + 0.5 + chance.uniform(-0.2, 0.2)) * spacing_s, 3),
            round(chance.uniform(0.15, 0.5) * spacing_s, 3),
        )
        for index, (target, kind) in enumerate(chosen)
    )


@dataclass
class Theatre:
    """A stack whose gateway reaches everything else through proxies, and a Redis."""

    stack: Stack
    proxies: Mapping[str, Proxy]
    redis: RedisServer

    async def suffer(self, outage: Outage) -> Suffered:
        """Let it happen, from its beginning to its end."""
        began_at_s = time.monotonic()
        match outage.kind:
            case "partition":
                proxy = self.proxies[outage.target]
                proxy.partition()
                await asyncio.sleep(outage.length_s)
                proxy.heal()
            case "freeze":
                await self._freeze(outage)
            case "kill":
                await self._kill(outage)
        return Suffered(outage, began_at_s, time.monotonic())

    async def _freeze(self, outage: Outage) -> None:
        if outage.target == "redis":
            self.redis.freeze()
        else:
            self.stack.send_signal(outage.target, signal.SIGSTOP)
        try:
            await asyncio.sleep(outage.length_s)
        finally:
            if outage.target == "redis":
                self.redis.thaw()
            else:
                self.stack.send_signal(outage.target, signal.SIGCONT)

    async def _kill(self, outage: Outage) -> None:
        if outage.target == "redis":
            await asyncio.to_thread(self.redis.kill)
            await asyncio.sleep(outage.length_s)
            await asyncio.to_thread(self.redis.start)
            return
        ready_count = self.stack.send_signal(outage.target, signal.SIGKILL)
        await self.stack.wait_restarted(outage.target, ready_count)


@asynccontextmanager
async def theatre(
    folder: Path, scripts: Mapping[str, Mapping[str, Any]], say: Callable[[str], None]
) -> AsyncIterator[Theatre]:
    """Everything running. Raises NoRedisError where no Redis server can be had."""
    ports = choose_ports()
    redis = RedisServer(folder / "redis")
    async with AsyncExitStack() as opened:
        await asyncio.to_thread(redis.start)
        opened.callback(redis.kill)
        opened.callback(redis.thaw)
        proxies = {
            name: await opened.enter_async_context(proxied(f"127.0.0.1:{ports.grpc[name]}"))
            for name in ("asr", "llm", "tts")
        }
        proxies["redis"] = await opened.enter_async_context(proxied(f"127.0.0.1:{redis.port}"))
        environment = {
            f"PARLEY_GATEWAY_{name.upper()}_TARGET": proxies[name].address for name in ("asr", "llm", "tts")
        }
        environment["PARLEY_GATEWAY_REDIS_URL"] = f"redis://{proxies['redis'].address}/0"
        say("four processes, a Redis, and a proxy before each of what the gateway needs")
        stack = await opened.enter_async_context(running_stack(folder, scripts, environment, ports=ports))
        yield Theatre(stack, proxies, redis)
