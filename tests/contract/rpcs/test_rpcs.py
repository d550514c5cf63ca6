"""What callers and servicers rely on, over a plain channel and over a link alike."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from parley_servicekit.faults import FaultCode
from parley_servicekit.grpc_faults import fault_from_rpc_error
from support.talk_service import SERVICE, Talk

# A guard against hanging, not a measurement.
PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
async def patience() -> Any:
    async with asyncio.timeout(PATIENCE_S):
        yield


def talking(channel: Any, **options: Any) -> Any:
    return channel.stream_stream(f"/{SERVICE}/Talk")(timeout=options.pop("timeout", 10), **options)


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        while await call.read() is not grpc.aio.EOF:
            pass
    return error.value


async def test_a_unary_call_answers_and_fails(channel: Any) -> None:
    once = channel.unary_unary(f"/{SERVICE}/Once")
    assert await once(b"word", timeout=10) == b"word"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await once(b"fault", timeout=10)
    assert fault_from_rpc_error(error.value).reason == "BAD_WORD"


async def test_a_stream_of_responses_comes_in_order_and_whole(channel: Any) -> None:
    call = channel.unary_stream(f"/{SERVICE}/Count")(b"3000", timeout=10)
    assert [int(number) async for number in call] == list(range(3000))
    assert await call.code() is grpc.StatusCode.OK
    assert call.done()
    assert not call.cancelled()


async def test_metadata_and_the_deadline_reach_the_servicer(channel: Any, talk: Talk) -> None:
    metadata = (("traceparent", "00-01-02-03"), ("raw-bin", b"\x00\xff"))
    call = channel.unary_stream(f"/{SERVICE}/Count")(b"1", timeout=9, metadata=metadata)
    assert await call.read() == b"0"
    assert (talk.metadata["traceparent"], talk.metadata["raw-bin"]) == ("00-01-02-03", b"\x00\xff")
    assert talk.remaining_s is not None
    assert 0 < talk.remaining_s <= 9.5


async def test_a_conversation_of_messages_ends_when_the_servicer_returns(channel: Any) -> None:
    call = talking(channel)
    for word in (b"one", b"", b"two", bytes(200_000)):
        await call.write(word)
        assert await call.read() == word
    assert not call.done()
    await call.write(b"bye")
    assert await call.read() == b"bye"
    assert await call.read() is grpc.aio.EOF
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(b"late")


async def test_an_end_of_requests_reaches_the_servicer(channel: Any, talk: Talk) -> None:
    call = talking(channel)
    await call.write(b"one")
    await call.done_writing()
    await call.done_writing()
    assert await call.read() == b"one"
    assert await call.read() is grpc.aio.EOF
    await talk.abandoned.wait()
    assert not talk.cancelled.is_set()


async def test_initial_metadata_comes_ahead_of_responses(channel: Any) -> None:
    call = talking(channel)
    await call.write(b"greet")
    metadata = dict(await call.initial_metadata())
    assert (metadata["greeting"], metadata["raw-bin"]) == ("hello", b"\x00\xff")
    assert not call.done()
    call.cancel()


@pytest.mark.parametrize("before", [[], [b"one", b"two"]])
async def test_a_fault_arrives_whole(channel: Any, before: list[bytes]) -> None:
    call = talking(channel)
    for word in before:
        await call.write(word)
        assert await call.read() == word
    await call.write(b"fault")
    fault = fault_from_rpc_error(await failure(call))
    assert (fault.reason, fault.code, fault.domain) == ("BAD_WORD", FaultCode.INVALID_ARGUMENT, "test.parley")
    assert (fault.message, fault.field) == ("that word is not allowed", "word")
    assert dict(fault.metadata) == {"limit": "7"}


async def test_a_retry_hint_arrives(channel: Any) -> None:
    call = talking(channel)
    await call.write(b"capacity")
    fault = fault_from_rpc_error(await failure(call))
    assert (fault.code, fault.retry_after_ms) == (FaultCode.RESOURCE_EXHAUSTED, 250)


async def test_what_is_unexpected_is_internal_and_says_nothing(channel: Any) -> None:
    call = talking(channel)
    await call.write(b"bug")
    error = await failure(call)
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert "person" not in str(error) + str(error.trailing_metadata())


async def test_an_abort_by_hand_keeps_its_trailing_metadata(channel: Any) -> None:
    call = talking(channel)
    await call.write(b"abort")
    error = await failure(call)
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "by hand")
    assert dict(error.trailing_metadata() or ())["note"] == "written"
    assert dict(await call.trailing_metadata())["note"] == "written"


async def test_a_refusal_keeps_its_reason_while_the_caller_still_writes(channel: Any) -> None:
    for _attempt in range(50):
        call = talking(channel)
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            await call.write(b"fault")
            while True:
                await call.write(bytes(1000))
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert fault_from_rpc_error(await failure(call)).reason == "BAD_WORD"


async def test_what_came_before_a_failure_can_be_read_after_it(channel: Any) -> None:
    call = talking(channel)
    for word in (b"one", b"two", b"fault"):
        await call.write(word)
    assert [await call.read(), await call.read()] == [b"one", b"two"]
    assert (await failure(call)).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_method_that_does_not_exist_is_unimplemented(channel: Any) -> None:
    for path in (f"/{SERVICE}/Nothing", "/test.Other/Talk", "nonsense"):
        call = channel.stream_stream(path)(timeout=10)
        assert (await failure(call)).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_cancelled_call_cancels_the_servicer(channel: Any, talk: Talk) -> None:
    call = talking(channel)
    await call.write(b"one")
    assert await call.read() == b"one"
    await call.write(b"hang")
    assert call.cancel()
    assert not call.cancel()
    assert (call.done(), call.cancelled()) == (True, True)
    with pytest.raises(asyncio.CancelledError):
        await call.read()
    assert await call.code() is grpc.StatusCode.CANCELLED
    await talk.cancelled.wait()


async def test_a_cancelled_read_cancels_the_call(channel: Any, talk: Talk) -> None:
    call = talking(channel)
    await call.write(b"hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await call.read()
    assert await call.code() is grpc.StatusCode.CANCELLED
    await talk.cancelled.wait()


async def test_a_call_outlives_its_deadline_on_neither_side(channel: Any, talk: Talk) -> None:
    call = talking(channel, timeout=0.1)
    await call.write(b"hang")
    assert (await failure(call)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await talk.cancelled.wait()


async def test_callbacks_hear_of_the_end_once(channel: Any) -> None:
    ended: list[Any] = []
    call = talking(channel)
    call.add_done_callback(ended.append)
    await call.write(b"bye")
    assert await call.read() == b"bye"
    assert await call.read() is grpc.aio.EOF
    assert ended == [call]


async def test_a_caller_that_stops_reading_holds_the_servicer_back(channel: Any, talk: Talk) -> None:
    call = channel.unary_stream(f"/{SERVICE}/Flood")(b"1000", timeout=60)
    assert len(await call.read()) == 1000
    count = -1
    while count != talk.written_count:
        count = talk.written_count
        await asyncio.sleep(0.1)
    assert count < 200, "more than 200 kB lie around"
    for _message in range(count + 50):
        assert len(await call.read()) == 1000
    call.cancel()
    await talk.cancelled.wait()


async def test_a_servicer_that_stops_reading_holds_the_caller_back(channel: Any, talk: Talk) -> None:
    call = talking(channel, timeout=60)
    written_count = 0

    async def flood() -> None:
        nonlocal written_count
        while True:
            await call.write(bytes(1000))
            written_count += 1

    await call.write(b"wait to read")
    async with asyncio.TaskGroup() as tasks:
        flooding = tasks.create_task(flood(), name="flood")
        count = -1
        while count != written_count:
            count = written_count
            await asyncio.sleep(0.1)
        assert 0 < count < 200, "more than 200 kB lie around"
        talk.may_read.set()
        for _message in range(count + 50):
            assert len(await call.read()) == 1000
        flooding.cancel()  # and with it the call
    await talk.cancelled.wait()


async def test_a_stream_that_nobody_reads_does_not_hold_up_others(channel: Any, talk: Talk) -> None:
    stuck = [channel.unary_stream(f"/{SERVICE}/Flood")(b"5000", timeout=60) for _ in range(20)]
    await asyncio.sleep(0.2)
    for _turn in range(50):
        call = talking(channel)
        await call.write(b"bye")
        assert await call.read() == b"bye"
        assert await call.read() is grpc.aio.EOF
    for call in stuck:
        call.cancel()


async def test_two_hundred_streams_at_once_do_not_mix(channel: Any, talk: Talk) -> None:
    async def converse(name: int) -> None:
        call = talking(channel, timeout=60)
        for turn in range(30):
            await call.write(b"%d:%d" % (name, turn))
        for turn in range(30):
            assert await call.read() == b"%d:%d" % (name, turn)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF

    async with asyncio.TaskGroup() as tasks:
        for name in range(200):
            tasks.create_task(converse(name), name=f"stream {name}")
    assert talk.running_count == 0
