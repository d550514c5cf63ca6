"""`ScriptedEngine`: answers as a JSON script tells it: what, when, how slowly, and when to fail. Made by `bootstrap`.

No model at all, and ListModels says so. For tests, load and chaos. A script:

    {"answers": [
        {"when_asked": "weather", "deltas": ["Sunny", "."], "first_delta_ms": 200, "delta_ms": 20, "jitter_ms": 5},
        {"deltas": ["I don't know."], "fail_after": 1, "fail_code": "UNAVAILABLE", "fail_reason": "UPSTREAM_CUT"}
    ]}
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parley_llm import faults
from parley_llm.context_window import estimate_prompt
from parley_llm.ports import Capabilities, Completion, ContextOverflow, FinishReason, Generation, Model
from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.scripted_delays import Delay, drawn_ms

_SCRIPT_MAX_BYTES = 4 << 20
_CRASH_EXIT_CODE = 70
_Milliseconds = Annotated[int, Field(ge=0, le=600_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScriptedAnswer(_Strict):
    """One answer.

    when_asked: only where the last message contains it, whatever the case; empty: in turn with the others.
    deltas: the pieces; repeated `repeat` times.
    first_delta_ms, delta_ms: before the first piece and before each further one, give or take `jitter_ms`; or
    distributions: {"p50_ms": 200, "p95_ms": 600}.
    fail_after: pieces after which it fails with `fail_code` and `fail_reason`; None: not at all.
    hang_after: pieces after which nothing comes any more; None: not at all.
    stall_after, stall_ms: pieces after which nothing comes for so long; None: not at all.
    crash_after: pieces after which the process ends; None: not at all.
    """

    when_asked: str = ""
    deltas: tuple[str, ...] = ()
    repeat: Annotated[int, Field(ge=1, le=100_000)] = 1
    first_delta_ms: Delay = 0
    delta_ms: Delay = 0
    jitter_ms: _Milliseconds = 0
    finish_reason: FinishReason = "stop"
    fail_after: Annotated[int | None, Field(ge=0)] = None
    fail_code: Literal["UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"] = "UNAVAILABLE"
    fail_reason: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,61}[A-Z0-9]$")] = "SCRIPTED_FAILURE"
    hang_after: Annotated[int | None, Field(ge=0)] = None
    stall_after: Annotated[int | None, Field(ge=0)] = None
    stall_ms: _Milliseconds = 0
    crash_after: Annotated[int | None, Field(ge=0)] = None


class Script(_Strict):
    """Everything that the engine does. seed: of the jitter; requests with a seed of their own use that."""

    answers: Annotated[tuple[ScriptedAnswer, ...], Field(min_length=1, max_length=10_000)]
    model: Annotated[str, Field(min_length=1, max_length=128)] = "scripted"
    context_token_count: Annotated[int, Field(ge=64)] = 4096
    seed: int = 0


def read_script(path: Path) -> Script:
    """The script in a file. Raises Fault (FAILED_PRECONDITION) where it is none."""
    try:
        with path.open("rb") as file:
            text = file.read(_SCRIPT_MAX_BYTES + 1)
        if len(text) > _SCRIPT_MAX_BYTES:
            raise faults.script_unreadable("it is longer than 4 MiB")
        return Script.model_validate_json(text)
    except OSError:
        raise faults.script_unreadable("it cannot be read") from None
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in detail["loc"]) or "the file"
        raise faults.script_unreadable(f"{place}: {detail['msg']}") from None


class ScriptedEngine:
    """Implements `ChatEngine` without a model."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._capabilities = Capabilities((script.model,), script.context_token_count, needs_warm_up=False)
        self._in_turn = [answer for answer in script.answers if not answer.when_asked]
        self._random = random.Random(script.seed)
        self._asked_count = 0
        self.running_count = 0

    @property
    def capabilities(self) -> Capabilities:
        """Sampling is taken and changes nothing."""
        return self._capabilities

    async def open(self) -> None:
        """Nothing is owned."""

    async def ensure_available(self) -> None:
        """It always is."""

    async def wait_lost(self) -> None:
        """It never is."""
        await asyncio.Event().wait()

    async def open_stream(self, generation: Generation) -> AsyncGenerator[str | Completion, None]:
        """See `ChatEngine`. A token is a delta; the prompt is counted by estimate."""
        prompt_token_count = estimate_prompt(generation.messages)
        if prompt_token_count > self._capabilities.context_token_count:
            raise ContextOverflow
        answer = self._choose(generation.messages[-1].text)
        seed = generation.sampling.seed
        jitter = self._random if seed is None else random.Random(seed)
        delta_count = len(answer.deltas) * answer.repeat
        self.running_count += 1
        try:
            for index in range(delta_count + 1):
                if answer.fail_after == index:
                    raise Fault(
                        answer.fail_reason,
                        "the script says so",
                        code=FaultCode[answer.fail_code],
                        retry_after_ms=1000
                        if answer.fail_code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
                        else None,
                    )
                await _disturb(answer, index)
                if index in (delta_count, generation.max_tokens):
                    break
                await _pause(answer, index, jitter)
                yield answer.deltas[index % len(answer.deltas)]
            cut = delta_count > generation.max_tokens
            yield Completion(
                "length" if cut else answer.finish_reason,
                prompt_token_count,
                min(delta_count, generation.max_tokens),
            )
        finally:
            self.running_count -= 1

    async def list_models(self) -> tuple[Model, ...]:
        """The one that is none."""
        return (
            Model(
                self._script.model,
                "scripted answers for tests, not a language model",
                is_loaded=True,
                context_token_count=self._script.context_token_count,
            ),
        )

    async def close(self) -> None:
        """Nothing is owned."""

    def _choose(self, asked: str) -> ScriptedAnswer:
        for answer in self._script.answers:
            if answer.when_asked and answer.when_asked.lower() in asked.lower():
                return answer
        if not self._in_turn:
            return ScriptedAnswer()
        self._asked_count += 1
        return self._in_turn[(self._asked_count - 1) % len(self._in_turn)]


async def _disturb(answer: ScriptedAnswer, index: int) -> None:
    if answer.crash_after == index:
        os._exit(_CRASH_EXIT_CODE)
    if answer.hang_after == index:
        await asyncio.Event().wait()
    if answer.stall_after == index:
        await asyncio.sleep(answer.stall_ms / 1000)


async def _pause(answer: ScriptedAnswer, index: int, jitter: random.Random) -> None:
    pause_ms = drawn_ms(answer.delta_ms if index else answer.first_delta_ms, jitter)
    if answer.jitter_ms:
        pause_ms = max(0, pause_ms + jitter.randint(-answer.jitter_ms, answer.jitter_ms))
    await asyncio.sleep(pause_ms / 1000)
