"""HistoryService: stored conversations to list, read, rename and delete."""

from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from parley.gateway.v1 import history_service_pb2 as pb2
from parley.gateway.v1.history_service_pb2_grpc import HistoryServiceServicer
from parley_gateway import conversation as log
from parley_gateway import wire
from parley_gateway.entrypoints.conversation_servicer import OWNER
from parley_gateway.ports import ConversationStore
from parley_servicekit.contract_faults import not_in_this_version
from parley_servicekit.faults import Fault

_PAGE_SIZE_DEFAULT = 50
_SPEAKERS = {log.Role.USER: pb2.SPEAKER_USER, log.Role.ASSISTANT: pb2.SPEAKER_ASSISTANT}


class HistoryServicer(HistoryServiceServicer):
    """Reads and edits what the store holds. Faults of the store go to the caller."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store

    async def ListConversations(
        self, request: pb2.ListConversationsRequest, context: Any
    ) -> pb2.ListConversationsResponse:
        """See the proto."""
        if request.filter:
            raise Fault.caller("INVALID_REQUEST", "filter is not honoured by this version", field="filter")
        if not 0 <= request.page_size <= 1000:
            raise Fault.caller("INVALID_REQUEST", "page_size is 1 to 1000", field="page_size")
        page = await self._store.list_page(OWNER, request.page_size or _PAGE_SIZE_DEFAULT, request.page_token)
        return pb2.ListConversationsResponse(
            conversations=[_conversation(each) for each in page.conversations],
            next_page_token=page.next_page_token,
        )

    async def GetConversation(
        self, request: pb2.GetConversationRequest, context: Any
    ) -> pb2.GetConversationResponse:
        """See the proto."""
        stored = await self._store.read(request.conversation_id, OWNER)
        return pb2.GetConversationResponse(
            conversation=_conversation(stored.conversation),
            turns=[_turn(turn) for turn in log.turns(stored.events)],
        )

    async def RenameConversation(
        self, request: pb2.RenameConversationRequest, context: Any
    ) -> pb2.RenameConversationResponse:
        """See the proto."""
        if len(request.title) > log.TITLE_MAX_CHARS:
            raise Fault.caller("INVALID_REQUEST", "a title has at most 200 characters", field="title")
        renamed = await self._store.rename(request.conversation_id, OWNER, request.title)
        return pb2.RenameConversationResponse(conversation=_conversation(renamed))

    async def DeleteConversation(
        self, request: pb2.DeleteConversationRequest, context: Any
    ) -> pb2.DeleteConversationResponse:
        """See the proto."""
        await self._store.delete(request.conversation_id, OWNER)
        return pb2.DeleteConversationResponse()

    async def ExportConversation(  # type: ignore[override]  # grpc.aio takes a coroutine that writes
        self, request: pb2.ExportConversationRequest, context: Any
    ) -> None:
        """See the proto."""
        raise not_in_this_version("ExportConversation")


def _conversation(conversation: log.Conversation) -> pb2.Conversation:
    return pb2.Conversation(
        conversation_id=conversation.conversation_id,
        title=conversation.title,
        create_time=_timestamp(conversation.create_time),
        update_time=_timestamp(conversation.update_time),
        persona=conversation.persona,
    )


def _turn(turn: log.ConversationTurn) -> pb2.ConversationTurn:
    return pb2.ConversationTurn(
        speaker=_SPEAKERS[turn.role],
        text=turn.text,
        create_time=_timestamp(turn.create_time),
        start_offset=wire.duration(turn.start_offset_ms),
        turn_id=turn.turn_id,
        was_interrupted=turn.was_interrupted,
    )


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
