"""`Parley`: one gateway, over one channel. The SDK's entry; used by the command line and by tests."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc.aio

from parley.asr.v1 import recognition_options_pb2 as recognition_pb2
from parley.asr.v1 import recognition_service_pb2 as asr_pb2
from parley.asr.v1.recognition_service_pb2_grpc import RecognitionServiceStub
from parley.audio.v1 import audio_pb2
from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_service_pb2 as gateway_pb2
from parley.gateway.v1 import history_service_pb2 as history_pb2
from parley.gateway.v1.conversation_service_pb2_grpc import ConversationServiceStub
from parley.gateway.v1.history_service_pb2_grpc import HistoryServiceStub
from parley.llm.v1 import chat_service_pb2 as llm_pb2
from parley.llm.v1.chat_service_pb2_grpc import ChatServiceStub
from parley.tts.v1 import synthesis_options_pb2 as synthesis_pb2
from parley.tts.v1 import synthesis_service_pb2 as tts_pb2
from parley.tts.v1.synthesis_service_pb2_grpc import SynthesisServiceStub
from parley_client.conversation import LiveConversation
from parley_client.faults import gateway_fault
from parley_servicekit.faults import Fault
from parley_servicekit.grpc_client import open_channel

DEFAULT_TARGET = "127.0.0.1:50050"
_LONG_CALL_S = 3600.0
# gRPC takes anything for a target and then waits for it; a URL is the usual mistake.
_TARGET = re.compile(r"(dns:///)?(\[[0-9a-fA-F:.]+\]|[^\s/:\[\]]+):(?P<port>[0-9]{1,5})|unix:\S+")
_FILE_CHUNK_BYTES = 32 * 1024


class Parley:
    """A gateway at `host:port` (default: the variable PARLEY_GATEWAY, else this machine). An async context manager.

    Every method raises Fault: GATEWAY_UNREACHABLE when there is no gateway, GATEWAY_TOO_SLOW when a short answer takes
    longer than `answer_within_s`.
    """

    def __init__(self, target: str | None = None, *, answer_within_s: float = 10.0) -> None:
        """Fault BAD_TARGET when the target is not `host:port`."""
        self.target = _checked(target or os.environ.get("PARLEY_GATEWAY") or DEFAULT_TARGET)
        self._answer_within_s = answer_within_s
        self._channel = open_channel(self.target)
        # Typed stubs are those of the blocking API; grpc.aio answers with awaitables.
        self._conversations: Any = ConversationServiceStub(self._channel)
        self._history: Any = HistoryServiceStub(self._channel)
        self._recognition: Any = RecognitionServiceStub(self._channel)
        self._chat: Any = ChatServiceStub(self._channel)
        self._synthesis: Any = SynthesisServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()

    # Conversations.

    @asynccontextmanager
    async def converse(
        self, config: config_pb2.ConversationConfig | None = None
    ) -> AsyncIterator[LiveConversation]:
        """A live conversation. Leaving the context hangs up; the conversation can be continued by its id."""
        call = self._conversations.Converse()
        conversation = LiveConversation(call, self.target)
        try:
            await conversation.open(config or config_pb2.ConversationConfig(), self._answer_within_s)
            yield conversation
        finally:
            call.cancel()

    async def status(self) -> gateway_pb2.GetStatusResponse:
        """Versions, services, load."""
        response: gateway_pb2.GetStatusResponse = await self._ask(
            self._conversations.GetStatus(gateway_pb2.GetStatusRequest(), timeout=self._answer_within_s)
        )
        return response

    async def personas(self) -> list[gateway_pb2.Persona]:
        """Who can answer, the default one first."""
        request = gateway_pb2.ListPersonasRequest()
        response = await self._ask(self._conversations.ListPersonas(request, timeout=self._answer_within_s))
        return list(response.personas)

    # Stored conversations.

    async def list_conversations(
        self, page_size: int = 50, page_token: str = ""
    ) -> history_pb2.ListConversationsResponse:
        """A page of stored conversations, the latest first."""
        request = history_pb2.ListConversationsRequest(page_size=page_size, page_token=page_token)
        response: history_pb2.ListConversationsResponse = await self._ask(
            self._history.ListConversations(request, timeout=self._answer_within_s)
        )
        return response

    async def get_conversation(self, conversation_id: str) -> history_pb2.GetConversationResponse:
        """A stored conversation with its turns."""
        request = history_pb2.GetConversationRequest(conversation_id=conversation_id)
        response: history_pb2.GetConversationResponse = await self._ask(
            self._history.GetConversation(request, timeout=self._answer_within_s)
        )
        return response

    async def rename_conversation(self, conversation_id: str, title: str) -> None:
        """Give it a title."""
        request = history_pb2.RenameConversationRequest(conversation_id=conversation_id, title=title)
        await self._ask(self._history.RenameConversation(request, timeout=self._answer_within_s))

    async def delete_conversation(self, conversation_id: str) -> None:
        """Delete it for good."""
        request = history_pb2.DeleteConversationRequest(conversation_id=conversation_id)
        await self._ask(self._history.DeleteConversation(request, timeout=self._answer_within_s))

    # Engines.

    async def transcribe(
        self, content: bytes | Path, options: recognition_pb2.RecognitionOptions | None = None
    ) -> AsyncIterator[asr_pb2.RecognizeResponse]:
        """Progress and transcripts of a recording: a WAV, FLAC, OGG or MP3 file, or its bytes.

        Closing the iterator stops the work. OSError when the file cannot be read.
        """
        # Opened here: inside the request stream gRPC would hide why it failed.
        opened = (
            await asyncio.to_thread(content.open, "rb") if isinstance(content, Path) else BytesIO(content)
        )

        async def requests() -> AsyncIterator[asr_pb2.RecognizeRequest]:
            yield asr_pb2.RecognizeRequest(config=asr_pb2.RecognizeConfig(recognition=options))
            while piece := await asyncio.to_thread(opened.read, _FILE_CHUNK_BYTES):
                yield asr_pb2.RecognizeRequest(content=piece)

        with opened:
            call = self._recognition.Recognize(requests(), timeout=_LONG_CALL_S)
            async with aclosing(self._stream(call)) as responses:
                async for response in responses:
                    yield response

    async def speak(
        self,
        text: str,
        options: synthesis_pb2.SynthesisOptions | None = None,
        output_audio: audio_pb2.AudioFormat | None = None,
    ) -> AsyncIterator[tts_pb2.SynthesizeResponse]:
        """Speech of a text as it is made; WAV at 24 kHz unless `output_audio` says otherwise. Closing the iterator
        stops the work.
        """
        request = tts_pb2.SynthesizeRequest(text=text, synthesis=options, output_audio=output_audio)
        call = self._synthesis.Synthesize(request, timeout=_LONG_CALL_S)
        async with aclosing(self._stream(call)) as responses:
            async for response in responses:
                yield response

    async def voices(self) -> list[synthesis_pb2.Voice]:
        """The voices, the default one first."""
        response = await self._ask(
            self._synthesis.ListVoices(tts_pb2.ListVoicesRequest(), timeout=self._answer_within_s)
        )
        return list(response.voices)

    async def models(self) -> dict[str, Iterable[Any]]:
        """The models of each service: asr, llm and tts."""
        asr = await self._ask(
            self._recognition.ListModels(asr_pb2.ListModelsRequest(), timeout=self._answer_within_s)
        )
        llm = await self._ask(
            self._chat.ListModels(llm_pb2.ListModelsRequest(), timeout=self._answer_within_s)
        )
        tts = await self._ask(
            self._synthesis.ListModels(tts_pb2.ListModelsRequest(), timeout=self._answer_within_s)
        )
        return {"asr": asr.models, "llm": llm.models, "tts": tts.models}

    async def _ask(self, call: Any) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise gateway_fault(error, self.target) from error

    async def _stream(self, call: Any) -> AsyncGenerator[Any, None]:
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise gateway_fault(error, self.target) from error
        finally:
            call.cancel()


def _checked(target: str) -> str:
    found = _TARGET.fullmatch(target)
    if found is None or not 0 < int(found["port"] or 1) < 65_536:
        raise Fault.caller("BAD_TARGET", f"a gateway is host:port, such as {DEFAULT_TARGET}, not {target}")
    return target
