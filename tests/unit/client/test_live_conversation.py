"""One Converse call as the SDK sees it: with a call that does what a test wants."""

import asyncio
from collections.abc import Sequence

import grpc
import grpc.aio
import pytest

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_client import Fault, LiveConversation

READY = pb2.ConverseResponse(ready=events_pb2.SessionReady(conversation_id="c1"))
TEXT = pb2.ConverseResponse(reply_text=events_pb2.ReplyText(reply_id=1, text="hello"))
TARGET = "host:1"


class ScriptedCall:
    """Implements what `LiveConversation` uses of a gRPC call: answers in order, then ends with a code."""

    def __init__(
        self,
        responses: Sequence[pb2.ConverseResponse] = (),
        code: grpc.StatusCode = grpc.StatusCode.OK,
        details: str = "",
    ) -> None:
        self._responses = list(responses)
        self._code = code
        self._details = details
        self.is_done = False
        self.hangs = False
        self.written: list[pb2.ConverseRequest] = []
        self.writing_count = self.writing_max_count = 0
        self.has_half_closed = False

    async def read(self) -> object:
        if self._responses:
            return self._responses.pop(0)
        if self.hangs:
            await asyncio.Event().wait()
        self.is_done = True
        return grpc.aio.EOF

    async def write(self, request: pb2.ConverseRequest) -> None:
        if self.is_done:
            raise asyncio.InvalidStateError("the call is over")
        self.writing_count += 1
        self.writing_max_count = max(self.writing_max_count, self.writing_count)
        await asyncio.sleep(0)
        self.writing_count -= 1
        self.written.append(request)

    async def done_writing(self) -> None:
        self.has_half_closed = True

    def done(self) -> bool:
        return self.is_done

    async def code(self) -> grpc.StatusCode:
        return self._code

    async def details(self) -> str:
        return self._details

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()


async def opened(call: ScriptedCall) -> LiveConversation:
    conversation = LiveConversation(call, TARGET)
    await conversation.open(config_pb2.ConversationConfig(), within_s=10.0)
    return conversation


async def reason(conversation: LiveConversation) -> str:
    with pytest.raises(Fault) as raised:
        async for _ in conversation:
            pass
    return raised.value.reason


async def test_it_is_open_when_the_gateway_is_ready() -> None:
    call = ScriptedCall([READY, TEXT])
    conversation = await opened(call)
    assert conversation.ready.conversation_id == "c1"
    assert call.written == [pb2.ConverseRequest(config=config_pb2.ConversationConfig())]
    assert [response async for response in conversation] == [TEXT]


async def test_what_is_sent_are_the_messages_of_the_protocol() -> None:
    call = ScriptedCall([READY])
    conversation = await opened(call)
    call.written.clear()
    await conversation.send_audio([b"ab", b"cd"])
    await conversation.send_text("hello")
    await conversation.start_turn()
    await conversation.end_turn()
    await conversation.interrupt()
    await conversation.report_playback(7, 12.5, underrun_count=2)
    await conversation.end()
    kinds = [request.WhichOneof("request") for request in call.written]
    assert kinds == [
        "audio", "text", "start_of_turn", "end_of_turn", "interrupt", "playback", "end_conversation",
    ]  # fmt: skip
    assert list(call.written[0].audio.packets) == [b"ab", b"cd"]
    playback = call.written[5].playback
    assert (playback.reply_id, playback.underrun_count) == (7, 2)
    assert playback.played_duration.ToMicroseconds() == 12_500
    assert call.has_half_closed


async def test_many_tasks_may_send_and_the_call_sees_one_write_at_a_time() -> None:
    call = ScriptedCall([READY])
    conversation = await opened(call)
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(conversation.send_text(str(number)), name=f"send.{number}")
    assert call.writing_max_count == 1
    assert [request.text for request in call.written[1:]] == [str(number) for number in range(20)]


async def test_a_gateway_that_hangs_up_before_it_is_ready_is_a_fault() -> None:
    with pytest.raises(Fault) as raised:
        await opened(ScriptedCall())
    assert raised.value.reason == "GATEWAY_HUNG_UP"


async def test_a_gateway_that_is_never_ready_is_too_slow() -> None:
    call = ScriptedCall()
    call.hangs = True
    with pytest.raises(Fault) as raised:
        await LiveConversation(call, TARGET).open(config_pb2.ConversationConfig(), within_s=0.0)
    assert raised.value.reason == "GATEWAY_TOO_SLOW"
    assert TARGET in raised.value.message


async def test_a_gateway_that_was_never_there_is_unreachable() -> None:
    with pytest.raises(Fault) as raised:
        await opened(ScriptedCall(code=grpc.StatusCode.UNAVAILABLE, details="connection refused"))
    assert raised.value.reason == "GATEWAY_UNREACHABLE"
    assert raised.value.metadata["target"] == TARGET


async def test_a_gateway_that_goes_away_says_which_conversation_to_continue() -> None:
    conversation = await opened(ScriptedCall([READY], code=grpc.StatusCode.UNAVAILABLE, details="reset"))
    with pytest.raises(Fault, match="continue conversation c1") as raised:
        async for _ in conversation:
            pass
    assert raised.value.reason == "GATEWAY_GONE"
    assert raised.value.retryable


async def test_something_else_at_the_address_is_not_a_gateway() -> None:
    call = ScriptedCall([READY], code=grpc.StatusCode.UNIMPLEMENTED, details="Method not found!")
    assert await reason(await opened(call)) == "NOT_A_GATEWAY"


async def test_sending_after_the_end_says_why_it_ended() -> None:
    call = ScriptedCall([READY])
    conversation = await opened(call)
    assert [response async for response in conversation] == []
    with pytest.raises(Fault) as raised:
        await conversation.send_text("hello?")
    assert raised.value.reason == "GATEWAY_HUNG_UP"


async def test_who_gives_up_sending_does_not_end_the_call() -> None:
    call = ScriptedCall([READY])
    conversation = await opened(call)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await conversation.send_text("given up")
    await conversation.send_text("next")
    assert [request.text for request in call.written[1:]] == ["given up", "next"]
