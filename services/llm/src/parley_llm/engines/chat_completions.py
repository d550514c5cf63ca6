"""`ChatCompletions`: client of the OpenAI-compatible chat API. Used by `openai_compatible` and `llama_cpp`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
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
from parley_llm.ports import Completion, ContextOverflow, FinishReason, Generation
from parley_servicekit.faults import Fault

# "length" and "stop" are what we pass on; a filter's or a tool's end is an end.
_FINISH_REASONS: dict[str, FinishReason] = {"length": "length"}
_OVERFLOW_MARKS = (b"exceed_context_size_error", b"context_length_exceeded", b"maximum context length")


class ChatCompletions:
    """One server. Make it within the event loop; await `close`."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        connect_timeout_ms: int,
        read_timeout_ms: int,
        model_advice: str,
        key_advice: str,
    ) -> None:
        """base_url: up to and with `/v1`. api_key: sent as a bearer token unless empty."""
        self._advice = {"model_advice": model_advice, "key_advice": key_advice}
        self._server = ModelServer(
            base_url, api_key, connect_timeout_ms=connect_timeout_ms, read_timeout_ms=read_timeout_ms
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._server.close()

    async def list_models(self, timeout_ms: int) -> dict[str, Any]:
        """The server's own list. Raises Fault."""
        try:
            return await self._server.get("models", timeout_ms)
        except Refusal as refusal:
            raise fault_from_refusal(refusal, **self._advice) from None

    async def stream(
        self, generation: Generation, extra: dict[str, Any]
    ) -> AsyncGenerator[str | Completion, None]:
        """The answer as `ChatEngine.open_stream` gives it. extra: fields that only some servers know."""
        answer = _Answer()
        try:
            body = _request_body(generation) | extra
            async with aclosing(self._server.lines("chat/completions", body)) as lines:
                async for line in lines:
                    if not line.startswith(b"data:"):
                        continue
                    piece = answer.take(line[5:].strip())
                    if piece is not None:
                        yield piece
                    if answer.is_over:
                        await read_rest(lines)
                        break
        except Refusal as refusal:
            raise self._explain(refusal) from None
        yield answer.completion()

    def _explain(self, refusal: Refusal) -> Fault | ContextOverflow:
        if refusal.status in (400, 413) and _tells_overflow(refusal.body):
            return ContextOverflow()
        return fault_from_refusal(refusal, **self._advice)


class _Answer:
    """Reads the events of one answer."""

    def __init__(self) -> None:
        self.is_over = False
        self._has_text = False
        self._finish_reason: FinishReason | None = None
        self._usage: object = None

    def take(self, event: bytes) -> str | None:
        """The text in an event, empty for thoughts, None for all else. Raises Fault, or ContextOverflow."""
        if event == b"[DONE]":
            self.is_over = True
            return None
        chunk = json_object(event)
        if chunk.get("error"):
            if not self._has_text and _tells_overflow(event):
                raise ContextOverflow
            raise faults.upstream_failed()
        self._usage = chunk.get("usage") or self._usage
        choices = chunk.get("choices")
        if not choices:  # the chunk with the usage has none
            return None
        try:
            choice = choices[0]
            if reason := choice.get("finish_reason"):
                self._finish_reason = _FINISH_REASONS.get(reason, "stop")
            delta = choice.get("delta") or {}
            text = delta.get("content") or ("" if delta.get("reasoning_content") else None)
        except (AttributeError, LookupError, TypeError):
            raise faults.upstream_malformed() from None
        if not isinstance(text, str | None):
            raise faults.upstream_malformed()
        self._has_text = self._has_text or bool(text)
        return text

    def completion(self) -> Completion:
        """How it ended. Raises Fault where the server did not say that it had."""
        if self._finish_reason is None:
            raise faults.upstream_incomplete()
        usage = self._usage if isinstance(self._usage, dict) else {}
        return Completion(
            self._finish_reason,
            count_in(usage.get("prompt_tokens")),
            count_in(usage.get("completion_tokens")),
        )


def _request_body(generation: Generation) -> dict[str, Any]:
    sampling = generation.sampling
    chosen = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
    }
    return {
        "model": generation.model,
        "messages": [{"role": message.role, "content": message.text} for message in generation.messages],
        "max_tokens": generation.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in chosen.items() if value is not None},
    }


def _tells_overflow(body: bytes) -> bool:
    return any(mark in body for mark in _OVERFLOW_MARKS)
