"""`GrpcChatModel`: the llm service as the session's ChatModel."""

from collections.abc import AsyncIterator

import grpc.aio

from parley.llm.v1 import chat_service_pb2 as llm_pb2
from parley.llm.v1.chat_service_pb2_grpc import ChatServiceStub
from parley_gateway import wire
from parley_gateway.conversation import Role
from parley_gateway.ports import AnswerFinished, GenerationRequest, TextDelta
from parley_gateway.service_calls import responses
from parley_servicekit.faults import Fault
from parley_servicekit.traces import call_metadata

_SERVICE = "llm"
_ROLES = {
    Role.USER: llm_pb2.CHAT_ROLE_USER,
    Role.ASSISTANT: llm_pb2.CHAT_ROLE_ASSISTANT,
}


class GrpcChatModel:
    """Answers over one channel to the llm service."""

    def __init__(self, channel: grpc.aio.Channel, *, answer_deadline_ms: int) -> None:
        """answer_deadline_ms: the longest that one answer may take."""
        self._stub = ChatServiceStub(channel)
        self._deadline_s = answer_deadline_ms / 1000

    async def answer(self, request: GenerationRequest) -> AsyncIterator[TextDelta | AnswerFinished]:
        """See ChatModel.answer."""
        call = self._stub.StreamingChat(_request(request), timeout=self._deadline_s, metadata=call_metadata())
        is_finished = False
        try:
            async for response in responses(_SERVICE, call):
                kind = response.WhichOneof("response")
                if kind == "text_delta" and response.text_delta.text:
                    yield TextDelta(response.text_delta.text)
                elif kind == "finished":
                    is_finished = True
                    yield AnswerFinished(
                        response.finished.prompt_token_count, response.finished.completion_token_count
                    )
        finally:
            call.cancel()
        if not is_finished:
            raise Fault.unavailable("LLM_STREAM_ENDED", "the llm service broke its answer off")


def _request(request: GenerationRequest) -> llm_pb2.StreamingChatRequest:
    messages = [
        llm_pb2.ChatMessage(role=_ROLES[message.role], text=message.text) for message in request.messages
    ]
    if request.system_prompt:
        messages.insert(0, llm_pb2.ChatMessage(role=llm_pb2.CHAT_ROLE_SYSTEM, text=request.system_prompt))
    return llm_pb2.StreamingChatRequest(
        messages=messages,
        generation=wire.generation_to_wire(request),
    )
