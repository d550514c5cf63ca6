"""`ChatCompletions`: client of the OpenAI-compatible chat API. Used by `openai_compatible` and `llama_cpp`.

Plain httpx rather than the `openai` package: cancelling a read closes the connection in the same step, which is what
makes servers stop generating, and a token costs half the CPU.
"""

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from parley_llm import faults
from parley_llm.engines.http_faults import fault_from_error, fault_from_status
from parley_llm.engines.server_sent_events import EventReader, EventTooLong
from parley_llm.ports import Completion, ContextOverflow, FinishReason, Generation
from parley_servicekit.faults import Fault

_ERROR_MAX_BYTES = 64 << 10
_REPLY_MAX_BYTES = 4 << 20
# "length" and "stop" are what we pass on; a filter's or a tool's end is an end.
_FINISH_REASONS: dict[str, FinishReason] = {"length": "length"}
_OVERFLOW_MARKS = (b"exceed_context_size_error", b"context_length_exceeded", b"maximum context length")


class ChatCompletions:
    """One server. Cheap to make; await `close`."""

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
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(read_timeout_ms / 1000, connect=connect_timeout_ms / 1000, pool=1.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
            trust_env=False,  # a proxy variable must not lead what people say elsewhere
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def get(self, path: str, timeout_ms: int) -> dict[str, Any]:
        """A JSON object. Raises Fault."""
        try:
            async with self._client.stream("GET", path, timeout=timeout_ms / 1000) as response:
                if response.status_code != 200:
                    raise fault_from_status(response.status_code, **self._advice)
                return _json_object(await _read(response, _REPLY_MAX_BYTES))
        except httpx.HTTPError as error:
            raise fault_from_error(error) from None

    async def stream(
        self, generation: Generation, extra: dict[str, Any]
    ) -> AsyncGenerator[str | Completion, None]:
        """The answer as `ChatEngine.open_stream` gives it. extra: fields that only some servers know."""
        body = _request_body(generation) | extra
        try:
            async with self._client.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != 200:
                    raise await self._refusal(response)
                answer = _Answer()
                reader = EventReader()
                async for received in response.aiter_bytes():
                    for event in reader.feed(received):
                        piece = answer.take(event)
                        if piece is not None:
                            yield piece
                        if answer.is_over:
                            yield answer.completion()
                            return
                yield answer.completion()
        except httpx.HTTPError as error:
            raise fault_from_error(error) from None
        except EventTooLong:
            raise faults.upstream_malformed() from None

    async def _refusal(self, response: httpx.Response) -> Fault | ContextOverflow:
        body = await _read(response, _ERROR_MAX_BYTES)
        if response.status_code in (400, 413) and any(mark in body for mark in _OVERFLOW_MARKS):
            return ContextOverflow()
        return fault_from_status(response.status_code, **self._advice)


class _Answer:
    """Reads the events of one answer."""

    def __init__(self) -> None:
        self.is_over = False
        self._has_text = False
        self._finish_reason: FinishReason | None = None
        self._usage: dict[str, Any] = {}

    def take(self, event: bytes) -> str | None:
        """The text in an event, empty for thoughts, None for all else. Raises Fault, or ContextOverflow."""
        if event == b"[DONE]":
            self.is_over = True
            return None
        chunk = _json_object(event)
        if chunk.get("error"):
            if not self._has_text and any(mark in event for mark in _OVERFLOW_MARKS):
                raise ContextOverflow
            raise faults.upstream_failed()
        if usage := chunk.get("usage"):
            self._usage = usage
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
        return Completion(
            self._finish_reason,
            _count(self._usage, "prompt_tokens"),
            _count(self._usage, "completion_tokens"),
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


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    """A body up to `max_bytes`. Raises Fault for a longer one."""
    received = bytearray()
    async for part in response.aiter_bytes():
        received += part
        if len(received) > max_bytes:
            raise faults.upstream_malformed()
    return bytes(received)


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise faults.upstream_malformed() from None
    if not isinstance(value, dict):
        raise faults.upstream_malformed()
    return value


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 <= value < 1 << 31 else 0
