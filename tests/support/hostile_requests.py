"""Requests with a text of one's choosing in every place that takes a text, for every RPC that a gateway offers."""

from collections.abc import Iterator
from typing import Any

import grpc.aio
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from parley.asr.v1 import recognition_service_pb2 as asr_pb2
from parley.gateway.v1 import conversation_service_pb2 as gateway_pb2
from parley.gateway.v1 import history_service_pb2 as history_pb2
from parley.llm.v1 import chat_service_pb2 as llm_pb2
from parley.tts.v1 import synthesis_service_pb2 as tts_pb2

_FILES = (gateway_pb2, history_pb2, asr_pb2, llm_pb2, tts_pb2)
_CALL_TIMEOUT_S = 10
_DEPTH = 4


async def send_everywhere(gateway: str, text: str) -> int:
    """Send `text` in each text field of each request by itself, and as a method; the result is how often."""
    count = 0
    async with grpc.aio.insecure_channel(gateway) as channel:
        for method in methods():
            path = f"/{method.containing_service.full_name}/{method.name}"
            for request in requests_with(method.input_type, text):
                await _call(channel, path, request.SerializeToString(), text)
                count += 1
        await _call(channel, f"/parley.gateway.v1.ConversationService/{text.strip()}", b"", text)
    return count + 1


def methods() -> Iterator[MethodDescriptor]:
    """Every method of the public services."""
    for file in _FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from service.methods


def requests_with(descriptor: Descriptor, text: str) -> Iterator[Any]:
    """For each text field, however deep, a message in which it alone is set."""
    for fields in _text_fields(descriptor, _DEPTH):
        message = GetMessageClass(descriptor)()
        place: Any = message
        for field in fields[:-1]:
            place = getattr(place, field.name).add() if field.is_repeated else getattr(place, field.name)
        if fields[-1].is_repeated:
            getattr(place, fields[-1].name).append(text)
        else:
            setattr(place, fields[-1].name, text)
        yield message


def _text_fields(descriptor: Descriptor, depth: int) -> Iterator[tuple[FieldDescriptor, ...]]:
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (field,)
        elif (
            field.type == FieldDescriptor.TYPE_MESSAGE
            and depth
            and not field.message_type.GetOptions().map_entry
        ):
            for deeper in _text_fields(field.message_type, depth - 1):
                yield (field, *deeper)


async def _call(channel: grpc.aio.Channel, path: str, request: bytes, text: str) -> None:
    """On the wire a unary message is a stream of one. Whatever comes back is as good as anything else."""
    printable = "".join(character for character in text if 32 <= ord(character) < 127)
    metadata = (("x-parley-client", printable), ("authorization", f"Bearer {printable}"))
    call: Any = channel.stream_stream(path)(iter([request]), metadata=metadata, timeout=_CALL_TIMEOUT_S)
    try:
        async for _response in call:
            pass
    except grpc.aio.AioRpcError:
        return
