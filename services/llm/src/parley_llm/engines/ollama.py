"""`OllamaEngine`: models of an Ollama server. Made by `bootstrap`.

Runner options (here: `num_ctx`) go along unchanged with every request: one that differs makes Ollama unload the model
and load it again, for everybody.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from parley_llm import faults
from parley_llm.engines.model_server import (
    ModelServer,
    Refusal,
    count_in,
    fault_from_refusal,
    json_object,
    read_rest,
)
from parley_llm.ports import Capabilities, Completion, Generation, Model
from parley_servicekit.faults import Fault
from parley_servicekit.logs import get_logger

_CHECK_TIMEOUT_MS = 5000
# What Ollama falls back to on small machines; used for what we send where the operator sets no context.
_ASSUMED_CONTEXT_TOKEN_COUNT = 4096
_log = get_logger()


@dataclass(frozen=True)
class OllamaOptions:
    """What the operator chooses.

    models: what requests may name, the default first.
    context_token_count: sent as `num_ctx`; None leaves it to the server (then at most 4096 tokens are used).
    keep_alive_s: how long the model stays loaded after an answer; -1 for ever.
    """

    url: str
    models: tuple[str, ...]
    context_token_count: int | None
    keep_alive_s: int
    connect_timeout_ms: int
    read_timeout_ms: int


class OllamaEngine:
    """Implements `ChatEngine` on one Ollama server."""

    def __init__(self, options: OllamaOptions) -> None:
        self._options = options
        self._capabilities = Capabilities(
            options.models, options.context_token_count or _ASSUMED_CONTEXT_TOKEN_COUNT
        )
        self._thinks_anyway: set[str] = set()
        self._server = ModelServer(
            options.url,
            "",
            connect_timeout_ms=options.connect_timeout_ms,
            read_timeout_ms=options.read_timeout_ms,
        )

    @property
    def capabilities(self) -> Capabilities:
        """Honours every option."""
        return self._capabilities

    async def open(self) -> None:
        """Nothing is owned."""

    async def ensure_available(self) -> None:
        """Ask whether the default model is there. Raises Fault MODEL_MISSING with what to do."""
        default = self._capabilities.models[0]
        if _full_name(default) not in await self._listed():
            raise faults.model_missing(_pull_advice(default))

    async def wait_lost(self) -> None:
        """Only asking tells."""
        await asyncio.Event().wait()

    async def open_stream(self, generation: Generation) -> AsyncGenerator[str | Completion, None]:
        """See `ChatEngine`."""
        try:
            async with aclosing(self._lines(generation)) as lines:
                async for line in lines:
                    if not line.strip():
                        continue
                    part = json_object(line)
                    text = _text_in(part)
                    if text is not None:
                        yield text
                    if part.get("done") is True:
                        await read_rest(lines)
                        yield _completion(part)
                        return
        except Refusal as refusal:
            raise _fault_from(refusal, generation.model) from None
        raise faults.upstream_incomplete()

    async def list_models(self) -> tuple[Model, ...]:
        """The configured models with what Ollama knows of them."""
        sizes = await self._listed()
        loaded = await self._loaded()
        return tuple(
            Model(
                name,
                "on an Ollama server"
                if _full_name(name) in sizes
                else "not there yet; " + _pull_advice(name),
                is_loaded=_full_name(name) in loaded,
                size_bytes=sizes.get(_full_name(name), 0),
                context_token_count=self._options.context_token_count or 0,
            )
            for name in self._capabilities.models
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._server.close()

    async def _lines(self, generation: Generation) -> AsyncGenerator[bytes, None]:
        """The server's lines, thinking switched off where the model lets itself be told."""
        body = {
            "model": generation.model,
            "messages": [{"role": message.role, "content": message.text} for message in generation.messages],
            "stream": True,
            "keep_alive": self._options.keep_alive_s,
            "options": self._request_options(generation),
        }
        if generation.model not in self._thinks_anyway:
            try:
                async with aclosing(self._server.lines("api/chat", body | {"think": False})) as lines:
                    async for line in lines:
                        yield line
                return
            except Refusal as refusal:
                if refusal.status != 400 or b"think" not in refusal.body.lower():
                    raise
            self._thinks_anyway.add(generation.model)
            _log.warning("engine.thinking_stays_on", model=generation.model)
        async with aclosing(self._server.lines("api/chat", body)) as lines:
            async for line in lines:
                yield line

    def _request_options(self, generation: Generation) -> dict[str, Any]:
        sampling = generation.sampling
        chosen = {
            "num_ctx": self._options.context_token_count,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "repeat_penalty": sampling.repeat_penalty,
            "seed": None if sampling.seed is None else sampling.seed % (1 << 31),
            "stop": list(sampling.stop) or None,
        }
        return {"num_predict": generation.max_tokens} | {
            name: value for name, value in chosen.items() if value is not None
        }

    async def _listed(self) -> dict[str, int]:
        """Sizes in bytes of all models that the server has, by full name."""
        return {
            str(entry.get("model")): count_in(entry.get("size"), 1 << 62)
            for entry in await self._ask("api/tags")
        }

    async def _loaded(self) -> frozenset[str]:
        return frozenset(str(entry.get("model")) for entry in await self._ask("api/ps"))

    async def _ask(self, path: str) -> list[dict[str, Any]]:
        """The models in the reply to a short request. Raises Fault."""
        try:
            models = (await self._server.get(path, _CHECK_TIMEOUT_MS)).get("models") or []
        except Refusal as refusal:
            raise _fault_from(refusal, self._capabilities.models[0]) from None
        if not isinstance(models, list) or not all(isinstance(entry, dict) for entry in models):
            raise faults.upstream_malformed()
        return models


def _text_in(part: dict[str, Any]) -> str | None:
    """The text of a part, empty for thoughts, None where there is nothing. Raises Fault."""
    if part.get("error"):  # within a stream the status is 200 all the same
        raise faults.upstream_failed()
    message = part.get("message") or {}
    if not isinstance(message, dict):
        raise faults.upstream_malformed()
    text = message.get("content") or ("" if message.get("thinking") else None)
    if not isinstance(text, str | None):
        raise faults.upstream_malformed()
    return text


def _completion(last: dict[str, Any]) -> Completion:
    return Completion(
        "length" if last.get("done_reason") == "length" else "stop",
        count_in(last.get("prompt_eval_count")),
        count_in(last.get("eval_count")),
    )


def _fault_from(refusal: Refusal, model: str) -> Fault:
    return fault_from_refusal(
        refusal,
        model_advice=_pull_advice(model),
        key_advice="this engine sends none; use the engine openai with Ollama's /v1",
    )


def _pull_advice(model: str) -> str:
    return f"run: ollama pull {model}"


def _full_name(model: str) -> str:
    """Ollama takes a name without a tag as the tag `latest`."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"
