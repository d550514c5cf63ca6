"""`OllamaEngine`: models of an Ollama server, through Ollama's own client. Made by `bootstrap`.

Runner options (here: `num_ctx`) go along unchanged with every request: one that differs makes Ollama unload the model
and load it again, for everybody.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx
import ollama

from parley_llm import faults
from parley_llm.engines.http_faults import fault_from_error, fault_from_status
from parley_llm.ports import Capabilities, Completion, Generation, Model
from parley_servicekit.faults import Fault
from parley_servicekit.logs import get_logger

_CHECK_TIMEOUT_S = 5.0
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
        self._client = ollama.AsyncClient(
            host=options.url,
            timeout=httpx.Timeout(
                options.read_timeout_ms / 1000, connect=options.connect_timeout_ms / 1000, pool=1.0
            ),
            follow_redirects=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
            trust_env=False,  # a proxy variable must not lead what people say elsewhere
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
            async with aclosing(self._parts(generation)) as parts:
                async for part in parts:
                    if text := part.message.content or "":
                        yield text
                    elif part.message.thinking:
                        yield ""
                    if part.done:
                        yield _completion(part)
                        return
            raise faults.upstream_incomplete()
        except ollama.ResponseError as error:
            raise _fault_from(error, generation.model) from None
        except httpx.HTTPError as error:
            raise fault_from_error(error) from None
        except ValueError:  # no JSON, or not what Ollama's answers look like
            raise faults.upstream_malformed() from None

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
        await self._client.close()  # type: ignore[no-untyped-call]

    async def _parts(self, generation: Generation) -> AsyncGenerator[ollama.ChatResponse, None]:
        """The server's own messages, thinking switched off where the model lets itself be told."""
        if generation.model not in self._thinks_anyway:
            try:
                async with aclosing(await self._chat(generation, think=False)) as parts:
                    async for part in parts:
                        yield part
                return
            except ollama.ResponseError as error:
                if error.status_code != 400 or "think" not in error.error.lower():
                    raise
            self._thinks_anyway.add(generation.model)
            _log.warning("engine.thinking_stays_on", model=generation.model)
        async with aclosing(await self._chat(generation, think=None)) as parts:
            async for part in parts:
                yield part

    async def _chat(
        self, generation: Generation, *, think: bool | None
    ) -> AsyncGenerator[ollama.ChatResponse, None]:
        stream: Any = await self._client.chat(
            model=generation.model,
            messages=[{"role": message.role, "content": message.text} for message in generation.messages],
            stream=True,
            think=think,
            keep_alive=self._options.keep_alive_s,
            options=self._request_options(generation),
        )
        return stream  # type: ignore[no-any-return]  # an async generator, typed as an iterator

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
        reply = await self._ask(self._client.list)
        return {model.model: int(model.size or 0) for model in reply.models if model.model}

    async def _loaded(self) -> frozenset[str]:
        reply = await self._ask(self._client.ps)
        return frozenset(model.model for model in reply.models if model.model)

    async def _ask(self, request: Any) -> Any:
        """A short request. Raises Fault."""
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                return await request()
        except ollama.ResponseError as error:
            raise _fault_from(error, self._capabilities.models[0]) from None
        except httpx.HTTPError as error:
            raise fault_from_error(error) from None
        except ConnectionError:  # what the client makes of httpx.ConnectError outside streams
            raise faults.upstream_unreachable() from None
        except TimeoutError:
            raise faults.upstream_timeout() from None
        except ValueError:
            raise faults.upstream_malformed() from None


def _completion(last: ollama.ChatResponse) -> Completion:
    return Completion(
        "length" if last.done_reason == "length" else "stop",
        last.prompt_eval_count or 0,
        last.eval_count or 0,
    )


def _fault_from(error: ollama.ResponseError, model: str) -> Fault:
    if error.status_code == -1:  # an error line within the stream
        return faults.upstream_failed()
    return fault_from_status(
        error.status_code,
        model_advice=_pull_advice(model),
        key_advice="the operator has to set OLLAMA_API_KEY",
    )


def _pull_advice(model: str) -> str:
    return f"run: ollama pull {model}"


def _full_name(model: str) -> str:
    """Ollama takes a name without a tag as the tag `latest`."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"
