"""Clients that stop reading or vanish, over real gRPC in this process; and calls that are passed on to a service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley.gateway.v1.conversation_service_pb2_grpc import (
    ConversationServiceStub,
    add_ConversationServiceServicer_to_server,
)
from parley.llm.v1 import chat_service_pb2 as llm_pb2
from parley.llm.v1.chat_service_pb2_grpc import ChatServiceStub
from parley_gateway.entrypoints.conversation_servicer import ConversationLimits, ConversationServicer
from parley_gateway.entrypoints.proxied_services import proxy_handler
from parley_gateway.personas import load_personas
from parley_servicekit.faults import FaultCode
from parley_servicekit.grpc_client import open_channel
from parley_servicekit.grpc_faults import FaultInterceptor, fault_from_rpc_error
from parley_servicekit.grpc_server import new_server
from support.session_rig import Services
from support.session_services import ChatModelDouble

CHAT = llm_pb2.DESCRIPTOR.services_by_name["ChatService"]
TEXT_ONLY = config_pb2.ConversationConfig(output_modes=[config_pb2.OUTPUT_MODE_TEXT])
PATIENCE_S = 20.0


@asynccontextmanager
async def listening(*handlers: Any) -> AsyncIterator[str]:
    server = new_server([FaultInterceptor("gateway.parley")])
    for add in handlers:
        add(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def gateway(
    services: Services, *, client_stall_ms: int = 10_000
) -> AsyncIterator[ConversationServiceStub]:
    async def status() -> pb2.GetStatusResponse:
        return pb2.GetStatusResponse()

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        limits = ConversationLimits(2, 1000, client_stall_ms)
        servicer = ConversationServicer(
            services.bundle(), load_personas(None), "companion", limits, status, tasks, lambda _: None
        )
        async with (
            listening(lambda server: add_ConversationServiceServicer_to_server(servicer, server)) as address,
            open_channel(address) as channel,
        ):
            yield ConversationServiceStub(channel)


async def until_no_session_is_left(stub: Any) -> None:
    while (await stub.GetStatus(pb2.GetStatusRequest())).session_count:
        await asyncio.sleep(0.01)


async def opened(stub: Any) -> Any:
    call = stub.Converse()
    await call.write(pb2.ConverseRequest(config=TEXT_ONLY))
    assert (await call.read()).HasField("ready")
    return call


async def flood(call: Any, text_count: int = 1000) -> None:
    """Much to answer, whose turns alone are much to read; until the gateway reads no more or hangs up."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for _ in range(text_count):
            await call.write(pb2.ConverseRequest(text="tell me everything " * 800))


async def test_a_client_that_stops_reading_is_dropped_with_a_reason() -> None:
    services = Services(model=ChatModelDouble(*["x" * 10_000] * 3))
    async with gateway(services, client_stall_ms=300) as stub:
        call = await opened(stub)
        # Few enough to be taken in: grpc.aio calls a call INTERNAL whose end comes while a write is pending.
        await flood(call, 20)
        await until_no_session_is_left(stub)
        with pytest.raises(grpc.aio.AioRpcError) as ending:
            while await call.read() is not grpc.aio.EOF:
                pass
        fault = fault_from_rpc_error(ending.value)
        assert (fault.reason, fault.code) == ("CLIENT_STALLED", FaultCode.DEADLINE_EXCEEDED)
        assert services.model.running_count == 0
        again = await opened(stub)
        again.cancel()


async def test_a_client_that_vanishes_without_having_read_gives_its_place_back() -> None:
    services = Services(model=ChatModelDouble(*["x" * 10_000] * 3))
    async with gateway(services) as stub:
        for _ in range(3):
            call = await opened(stub)
            async with asyncio.TaskGroup() as tasks:
                flooding = tasks.create_task(flood(call), name="flood")
                await asyncio.sleep(0.5)
                flooding.cancel()
            call.cancel()
            await until_no_session_is_left(stub)
            assert services.model.running_count == 0


class HangingService:
    """Takes any call, answers once, and then waits until it is cancelled; `refuses` instead with its own status."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self._refuses = refuses

    def service(self, details: Any) -> grpc.RpcMethodHandler:
        return grpc.stream_stream_rpc_method_handler(self._call)

    async def _call(self, _: Any, context: Any) -> None:
        self.began.set()
        try:
            if self._refuses:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
            await asyncio.sleep(PATIENCE_S)
        finally:
            self.ended.set()


@asynccontextmanager
async def proxied(service: HangingService) -> AsyncIterator[grpc.aio.Channel]:
    async with (
        asyncio.timeout(PATIENCE_S),
        listening(lambda server: server.add_generic_rpc_handlers((service,))) as upstream,
        open_channel(upstream) as channel,
        listening(
            lambda server: server.add_generic_rpc_handlers((proxy_handler(CHAT, "llm", channel),))
        ) as address,
        open_channel(address) as to_gateway,
    ):
        yield to_gateway


async def test_a_call_that_the_client_cancels_is_cancelled_at_the_service() -> None:
    service = HangingService()
    async with proxied(service) as channel:
        call = ChatServiceStub(channel).StreamingChat(llm_pb2.StreamingChatRequest())
        await service.began.wait()
        call.cancel()
        await service.ended.wait()


async def test_a_refusal_of_the_service_is_passed_on() -> None:
    async with proxied(HangingService(refuses=True)) as channel:
        call = ChatServiceStub(channel).StreamingChat(llm_pb2.StreamingChatRequest())
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call.read()
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
