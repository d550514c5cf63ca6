"""`ChatServicer`: `parley.llm.v1.ChatService` on the wire, `Chat` behind it. Registered by `bootstrap`."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.duration_pb2 import Duration

from parley.llm.v1 import chat_service_pb2, chat_service_pb2_grpc, generation_options_pb2
from parley_llm.chat import Chat, Finished
from parley_llm.ports import FinishReason, Generation, Message, Role, Sampling
from parley_servicekit import contract_faults
from parley_servicekit.traces import NO_TRACES, Span, Traces, serving

_ROLES: dict[int, Role] = {
    chat_service_pb2.CHAT_ROLE_SYSTEM: "system",
    chat_service_pb2.CHAT_ROLE_USER: "user",
    chat_service_pb2.CHAT_ROLE_ASSISTANT: "assistant",
}
_FINISH_REASONS: dict[FinishReason, Any] = {
    "stop": chat_service_pb2.FINISH_REASON_STOP,
    "length": chat_service_pb2.FINISH_REASON_LENGTH,
}


class ChatServicer(chat_service_pb2_grpc.ChatServiceServicer):
    """Every method may raise Fault, which the process's interceptor turns into a status."""

    def __init__(self, chat: Chat, traces: Traces = NO_TRACES) -> None:
        self._chat = chat
        self._traces = traces

    async def StreamingChat(
        self, request: chat_service_pb2.StreamingChatRequest, context: Any
    ) -> AsyncIterator[chat_service_pb2.StreamingChatResponse]:
        """One answer, streamed as it is written."""
        response = chat_service_pb2.StreamingChatResponse
        delta = chat_service_pb2.TextDelta
        with serving(self._traces, "llm answer", context) as span:
            async with aclosing(self._chat.answer(read_request(request))) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Finished):
                        _note(span, piece)
                        yield response(finished=_finished(piece))
                    else:
                        yield response(text_delta=delta(text=piece))

    async def ListModels(
        self, request: chat_service_pb2.ListModelsRequest, context: Any
    ) -> chat_service_pb2.ListModelsResponse:
        """The models that requests may name, the default one first."""
        models = [
            chat_service_pb2.ChatModel(
                name=model.name,
                description=model.description,
                language_codes=model.language_codes,
                is_loaded=model.is_loaded,
                size_bytes=model.size_bytes,
                context_token_count=model.context_token_count,
            )
            for model in await self._chat.list_models()
        ]
        return chat_service_pb2.ListModelsResponse(models=models)

    async def WarmUp(
        self, request: chat_service_pb2.WarmUpRequest, context: Any
    ) -> chat_service_pb2.WarmUpResponse:
        """Load a model and prefill a system prompt."""
        duration_ms = await self._chat.warm_up(request.model, request.system_prompt)
        return chat_service_pb2.WarmUpResponse(duration=_duration(duration_ms))

    async def PullModel(
        self, request: chat_service_pb2.PullModelRequest, context: Any
    ) -> AsyncIterator[chat_service_pb2.PullModelResponse]:
        """Not in this version."""
        raise contract_faults.not_in_this_version("PullModel")
        yield  # makes it a stream

    async def WatchLoad(
        self, request: chat_service_pb2.WatchLoadRequest, context: Any
    ) -> AsyncIterator[chat_service_pb2.WatchLoadResponse]:
        """Not in this version."""
        raise contract_faults.not_in_this_version("WatchLoad")
        yield  # makes it a stream


def _note(span: Span, finished: Finished) -> None:
    span.note(
        model=finished.model,
        finish_reason=finished.finish_reason,
        prompt_token_count=finished.prompt_token_count,
        completion_token_count=finished.completion_token_count,
        first_token_ms=finished.first_token_ms,
    )


def read_request(request: chat_service_pb2.StreamingChatRequest) -> Generation:
    """The request in domain words. Raises Fault for what the contract has and this version does not honour."""
    options = request.generation
    if options.tools:
        raise contract_faults.not_honoured("generation.tools", "tools are not honoured in this version")
    if options.tool_choice:
        raise contract_faults.not_honoured("generation.tool_choice", "tools are not honoured in this version")
    return Generation(
        tuple(_read_message(index, message) for index, message in enumerate(request.messages)),
        _read_sampling(options),
        options.max_tokens,
        options.model,
    )


def _read_message(index: int, message: chat_service_pb2.ChatMessage) -> Message:
    if message.role == chat_service_pb2.CHAT_ROLE_TOOL:
        raise contract_faults.not_honoured(
            f"messages[{index}].role", "tools are not honoured in this version"
        )
    if message.call_id:
        raise contract_faults.invalid_field(f"messages[{index}].call_id", "only the result of a tool has one")
    role = _ROLES.get(message.role)
    if role is None:
        raise contract_faults.invalid_field(f"messages[{index}].role", "SYSTEM, USER or ASSISTANT")
    return Message(role, message.text)


def _read_sampling(options: generation_options_pb2.GenerationOptions) -> Sampling:
    return Sampling(
        temperature=options.temperature if options.HasField("temperature") else None,
        top_p=options.top_p if options.HasField("top_p") else None,
        top_k=options.top_k if options.HasField("top_k") else None,
        repeat_penalty=options.repeat_penalty if options.HasField("repeat_penalty") else None,
        seed=options.seed if options.HasField("seed") else None,
        stop=tuple(options.stop),
    )


def _finished(finished: Finished) -> chat_service_pb2.ChatFinished:
    return chat_service_pb2.ChatFinished(
        finish_reason=_FINISH_REASONS[finished.finish_reason],
        model=finished.model,
        prompt_token_count=finished.prompt_token_count,
        completion_token_count=finished.completion_token_count,
        first_token_duration=_duration(finished.first_token_ms),
        total_duration=_duration(finished.total_ms),
    )


def _duration(milliseconds: int) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(milliseconds)
    return duration
