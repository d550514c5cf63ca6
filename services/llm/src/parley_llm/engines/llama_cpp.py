"""`LlamaCppEngine`: llama.cpp on a GGUF file, in a child process that this engine owns. Made by `bootstrap`.

The child (`llama_cpp_server`) serves llama.cpp's OpenAI-compatible HTTP on loopback with a key of its own for each
start, so that one client, `ChatCompletions`, is enough for embedded and remote models.
"""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parley_llm import faults
from parley_llm.engines.chat_completions import ChatCompletions
from parley_llm.ports import Capabilities, Completion, Generation, Model
from parley_servicekit.faults import Fault
from parley_servicekit.logs import get_logger

_CHECK_TIMEOUT_MS = 5000
_FAILED_CHECKS_MAX_COUNT = 3
_CHILD_MODULE = "parley_llm.engines.llama_cpp_server"
# glibc gives memory back to the system after each answer and asks for it again, a tenth of the time of a small model.
_CHILD_ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
_log = get_logger()


@dataclass(frozen=True)
class LlamaCppOptions:
    """What the operator chooses. context_token_count: per conversation; less where the model was made for less."""

    model_file: Path
    description: str
    language_codes: tuple[str, ...]
    context_token_count: int
    parallel_count: int
    thread_count: int
    load_timeout_ms: int
    read_timeout_ms: int


@dataclass(frozen=True)
class _Child:
    process: asyncio.subprocess.Process
    client: ChatCompletions

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None


class LlamaCppEngine:
    """Implements `ChatEngine` with a child process. The model's name is its file's name without `.gguf`."""

    def __init__(self, options: LlamaCppOptions) -> None:
        self._options = options
        self._model_name = options.model_file.stem
        self._capabilities = Capabilities((self._model_name,), options.context_token_count)
        self._child: _Child | None = None
        self._failed_check_count = 0

    @property
    def capabilities(self) -> Capabilities:
        """Honours every option."""
        return self._capabilities

    @property
    def child_pid(self) -> int | None:
        """The child's process id while one runs."""
        return self._child.process.pid if self._child is not None and self._child.is_running else None

    async def open(self) -> None:
        """Load the model. Raises Fault (FAILED_PRECONDITION) with a reason where the file is no good."""
        await self._start()
        trained_for = await self._trained_context()
        if trained_for < self._options.context_token_count:
            # Beyond what it was trained for a model writes nonsense, and llama.cpp would let it.
            await self._stop()
            self._options = replace(self._options, context_token_count=trained_for)
            self._capabilities = Capabilities((self._model_name,), trained_for)
            await self._start()

    async def ensure_available(self) -> None:
        """Start the child anew where it has ended or no longer answers."""
        child = self._child
        if child is None or not child.is_running:
            await self._stop()
            await self._start()
            return
        try:
            await child.client.list_models(_CHECK_TIMEOUT_MS)
        except Fault:
            self._failed_check_count += 1
            if self._failed_check_count < _FAILED_CHECKS_MAX_COUNT:
                return  # busy, perhaps
            await self._stop()
            raise faults.engine_hung() from None
        self._failed_check_count = 0

    async def wait_lost(self) -> None:
        """Return when the child has ended."""
        if self._child is not None:
            await self._child.process.wait()

    async def open_stream(self, generation: Generation) -> AsyncGenerator[str | Completion, None]:
        """See `ChatEngine`. A child that dies meanwhile is UNAVAILABLE."""
        child = self._child
        if child is None or not child.is_running:
            raise faults.engine_restarting()
        async with aclosing(child.client.stream(generation, _llama_fields(generation))) as pieces:
            async for piece in pieces:
                yield piece

    async def list_models(self) -> tuple[Model, ...]:
        """The one model."""
        try:
            size_bytes = self._options.model_file.stat().st_size
        except OSError:
            size_bytes = 0
        return (
            Model(
                self._model_name,
                self._options.description,
                self._options.language_codes,
                is_loaded=self.child_pid is not None,
                size_bytes=size_bytes,
                context_token_count=self._capabilities.context_token_count,
            ),
        )

    async def close(self) -> None:
        """End the child."""
        await self._stop()

    async def _start(self) -> None:
        """Start a child and wait until it has loaded the model. Raises Fault."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _CHILD_MODULE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # native code may write there what people say
            env=environment | _CHILD_ENVIRONMENT,
            start_new_session=True,  # Ctrl-C is for us: running answers may end first
        )
        api_key = secrets.token_hex(32)
        try:
            url = await self._handshake(process, api_key)
        except BaseException:
            await _end(process)
            raise
        client = ChatCompletions(
            f"{url}/v1",
            api_key,
            connect_timeout_ms=_CHECK_TIMEOUT_MS,
            read_timeout_ms=self._options.read_timeout_ms,
            model_advice="",
            key_advice="",
        )
        self._child = _Child(process, client)
        self._failed_check_count = 0
        _log.info("engine.child_started", model=self._model_name, child_pid=process.pid)

    async def _handshake(self, process: asyncio.subprocess.Process, api_key: str) -> str:
        """Tell the child what to do; the result is its URL."""
        options = self._options
        config = {
            "parent_pid": os.getpid(),
            "api_key": api_key,
            "model_file": str(options.model_file),
            "model_name": self._model_name,
            "context_token_count": options.context_token_count,
            "parallel_count": options.parallel_count,
            "thread_count": options.thread_count,
        }
        assert process.stdin is not None and process.stdout is not None
        try:
            async with asyncio.timeout(options.load_timeout_ms / 1000):
                process.stdin.write(json.dumps(config).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
        except TimeoutError:
            raise faults.load_timeout() from None
        except ConnectionError:
            line = b""
        answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        if "url" in answer:
            return str(answer["url"])
        problem = str(answer.get("failure", "llama.cpp crashed while loading it"))
        raise faults.model_unreadable(options.model_file.name, problem)

    async def _trained_context(self) -> int:
        """Tokens of context that the model was made for."""
        assert self._child is not None
        reply = await self._child.client.list_models(_CHECK_TIMEOUT_MS)
        try:
            return int(reply["data"][0]["meta"]["n_ctx_train"])
        except (KeyError, IndexError, TypeError, ValueError):
            return self._options.context_token_count

    async def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await _end(child.process)
            await child.client.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """It has nothing to save."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _llama_fields(generation: Generation) -> dict[str, Any]:
    """What llama.cpp takes beyond OpenAI's API, and the defaults of this engine."""
    sampling = generation.sampling
    fields: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
    if sampling.temperature is None:
        fields["temperature"] = 0.0  # small models are at their best when they take no chances
    if sampling.top_k is not None:
        fields["top_k"] = sampling.top_k
    if sampling.repeat_penalty is not None:
        fields["repeat_penalty"] = sampling.repeat_penalty
    if sampling.seed is not None:
        fields["seed"] = sampling.seed % ((1 << 32) - 1)  # the highest number stands for a random one
    return fields
