"""`OpenAiCompatibleEngine`: any server with OpenAI's chat API (vLLM, llama-server, LM Studio…). Made by `bootstrap`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from parley_llm.engines.chat_completions import ChatCompletions
from parley_llm.ports import Capabilities, Completion, Generation, Model
from parley_servicekit.faults import Fault, FaultCode

_CHECK_TIMEOUT_MS = 5000


class OpenAiCompatibleEngine:
    """Implements `ChatEngine` on one server by its URL."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        models: tuple[str, ...],
        context_token_count: int,
        connect_timeout_ms: int,
        read_timeout_ms: int,
    ) -> None:
        """base_url: up to and with `/v1`. models: what requests may name, the default first."""
        self._capabilities = Capabilities(
            models, context_token_count, refused_options=frozenset({"top_k", "repeat_penalty"})
        )
        self._client = ChatCompletions(
            base_url,
            api_key,
            connect_timeout_ms=connect_timeout_ms,
            read_timeout_ms=read_timeout_ms,
            model_advice="the operator has to load it there or to change PARLEY_LLM_MODEL or PARLEY_LLM_OPENAI_URL",
            key_advice="the operator has to set PARLEY_LLM_OPENAI_API_KEY",
        )

    @property
    def capabilities(self) -> Capabilities:
        """top_k and repeat_penalty are not part of OpenAI's API."""
        return self._capabilities

    async def open(self) -> None:
        """Nothing is owned."""

    async def ensure_available(self) -> None:
        """Ask for the list of models: proves the server and the key."""
        await self._listed()

    async def wait_lost(self) -> None:
        """Only asking tells."""
        await asyncio.Event().wait()

    async def open_stream(self, generation: Generation) -> AsyncGenerator[str | Completion, None]:
        """See `ChatEngine`."""
        async with aclosing(self._client.stream(generation, {})) as pieces:
            async for piece in pieces:
                yield piece

    async def list_models(self) -> tuple[Model, ...]:
        """The configured models; loaded are those that the server lists."""
        listed = await self._listed()
        return tuple(
            Model(
                name,
                "on an OpenAI-compatible server",
                is_loaded=name in listed,
                context_token_count=self._capabilities.context_token_count,
            )
            for name in self._capabilities.models
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _listed(self) -> frozenset[str]:
        """Names that the server lists; none where it has no list, which not every server has."""
        try:
            reply = await self._client.list_models(_CHECK_TIMEOUT_MS)
        except Fault as fault:
            if fault.reason == "MODEL_MISSING" or fault.code is FaultCode.INTERNAL:
                return frozenset()
            raise
        entries = reply.get("data")
        if not isinstance(entries, list):
            return frozenset()
        return frozenset(str(entry.get("id")) for entry in entries if isinstance(entry, dict))
