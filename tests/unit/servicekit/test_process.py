"""The life of a process, seen from outside: a real child, real gRPC, real signals."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.grpc_faults import fault_from_rpc_error

StartChild = Callable[..., AbstractAsyncContextManager[Any]]
Connect = Callable[[str], AbstractAsyncContextManager[Any]]

SERVICE = "parley.test.Echo"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def once(channel: Any, word: bytes) -> bytes:
    answer: bytes = await channel.unary_unary(f"/{SERVICE}/Once")(word, timeout=10)
    return answer


async def refusal(channel: Any, word: bytes = b"word") -> Fault:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await once(channel, word)
    return fault_from_rpc_error(caught.value)


async def health(channel: Any, service: str = "") -> Any:
    request = health_pb2.HealthCheckRequest(service=service)
    return (await health_stub(channel).Check(request, timeout=10)).status


def health_stub(channel: Any) -> Any:
    return health_pb2_grpc.HealthStub(channel)


async def until_not_serving(channel: Any) -> None:
    async with contextlib.aclosing(watch(channel)) as statuses:
        async for status in statuses:
            if status == NOT_SERVING:
                return


async def page(address: str, path: str) -> int:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


async def test_a_ready_process_answers_calls_health_reflection_and_http(
    start_child: StartChild, connect: Connect
) -> None:
    async with start_child() as child:
        ready = await child.ready_line()
        assert (ready["event"], ready["process"]) == ("ready", "asr")
        async with connect(ready["grpc"]) as channel:
            assert await once(channel, b"hello") == b"hello"
            assert await health(channel) == await health(channel, SERVICE) == SERVING
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            ask = reflection_pb2.ServerReflectionRequest(list_services="")
            services = await stub.ServerReflectionInfo(iter([ask])).read()
            names = {service.name for service in services.list_services_response.service}
            assert {SERVICE, "grpc.health.v1.Health"} <= names
        for path, status in {"/readyz": 200, "/healthz": 200, "/metrics": 200, "/": 404}.items():
            assert await page(ready["metrics"], path) == status
        child.process.send_signal(signal.SIGTERM)
        assert await child.exit_code() == 0
        events = [line["event"] for line in child.log]
        assert events == ["process.starting", "process.ready", "process.draining", "process.stopped"]


async def test_draining_finishes_what_runs_and_refuses_what_is_new(
    start_child: StartChild, connect: Connect
) -> None:
    async with start_child(drain_grace_ms="600000") as child:
        ready = await child.ready_line()
        async with connect(ready["grpc"]) as channel:
            running: Any = channel.stream_stream(f"/{SERVICE}/Echo")()
            await running.write(b"before")
            assert await running.read() == b"before"
            child.process.send_signal(signal.SIGTERM)
            await until_not_serving(channel)
            fault = await refusal(channel)
            assert (fault.reason, fault.code) == ("DRAINING", FaultCode.UNAVAILABLE)
            assert fault.retry_after_ms is not None
            assert await page(ready["metrics"], "/readyz") == 503
            await running.write(b"still served")
            assert await running.read() == b"still served"
            await running.done_writing()
            assert await running.code() is grpc.StatusCode.OK
            assert await child.exit_code() == 0


async def test_a_call_that_outlasts_the_grace_is_cut_and_cleaned_up(
    start_child: StartChild, connect: Connect
) -> None:
    async with start_child(drain_grace_ms="0") as child:
        ready = await child.ready_line()
        async with connect(ready["grpc"]) as channel:
            running: Any = channel.stream_stream(f"/{SERVICE}/Echo")()
            await running.write(b"word")
            await running.read()
            child.process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await running.read()
            fault = fault_from_rpc_error(caught.value)
            assert (fault.reason, fault.code) == ("DRAINING", FaultCode.UNAVAILABLE)
            assert fault.retry_after_ms is not None
            assert await child.exit_code() == 0
            events = [line["event"] for line in child.log]
            assert events[-3:] == ["process.drain_cut", "echo.closed", "process.stopped"]


async def test_the_second_signal_ends_the_wait(start_child: StartChild, connect: Connect) -> None:
    async with start_child(drain_grace_ms="600000") as child:
        ready = await child.ready_line()
        async with connect(ready["grpc"]) as channel:
            running: Any = channel.stream_stream(f"/{SERVICE}/Echo")()
            await running.write(b"word")
            await running.read()
            child.process.send_signal(signal.SIGINT)
            await child.logged("process.draining")
            child.process.send_signal(signal.SIGINT)
            assert await running.code() is grpc.StatusCode.UNAVAILABLE
            assert await child.exit_code() == 0


async def test_a_process_that_warms_up_says_so_and_can_be_stopped(
    start_child: StartChild, connect: Connect
) -> None:
    async with start_child(warm_up_ms="3600000") as child:
        starting = await child.logged("process.starting")
        async with connect(starting["grpc"]) as channel:
            assert await health(channel) == await health(channel, SERVICE) == NOT_SERVING
            fault = await refusal(channel)
            assert (fault.reason, fault.domain) == ("NOT_READY", "asr.parley")
            assert fault.retryable
            assert await page(starting["metrics"], "/readyz") == 503
            assert await page(starting["metrics"], "/healthz") == 200
        child.process.send_signal(signal.SIGTERM)
        assert await child.exit_code() == 0
        assert "process.ready" not in [line["event"] for line in child.log]


@pytest.mark.parametrize("setting", ["port", "metrics_port"])
async def test_a_taken_port_is_told_with_the_variable_to_change(
    start_child: StartChild, setting: str
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        async with start_child(**{setting: str(port)}) as child:
            failed = await child.logged("process.failed")
            assert failed["reason"] == "PORT_TAKEN"
            assert f"port {port} on 127.0.0.1" in failed["message"]
            assert f"PARLEY_ASR_{setting.upper()}" in failed["message"]
            assert await child.exit_code() == 2


async def test_a_warm_up_that_fails_ends_the_process(start_child: StartChild) -> None:
    async with start_child(warm_up_failure="yes, with private words") as child:
        failed = await child.logged("process.failed_unexpectedly")
        assert failed["exception"]["type"] == "builtins.RuntimeError"
        assert await child.exit_code() == 1
        assert "private words" not in str(child.log)


async def test_more_calls_than_allowed_are_refused_with_a_retry_hint(
    start_child: StartChild, connect: Connect
) -> None:
    async with start_child() as child:
        ready = await child.ready_line()
        async with connect(ready["grpc"]) as channel:
            running: Any = [channel.stream_stream(f"/{SERVICE}/Echo")() for _ in range(3)]
            for call in running:
                await call.write(b"word")
                await call.read()
            fault = await refusal(channel)
            assert (fault.reason, fault.code) == ("AT_CAPACITY", FaultCode.RESOURCE_EXHAUSTED)
            assert fault.retry_after_ms is not None
            assert await health(channel) == SERVING
            await running[0].done_writing()
            assert await running[0].code() is grpc.StatusCode.OK
            assert await once(channel, b"again") == b"again"
            for call in running[1:]:
                call.cancel()


async def test_an_engine_can_take_its_service_out_and_back(start_child: StartChild, connect: Connect) -> None:
    async with start_child() as child:
        ready = await child.ready_line()
        async with connect(ready["grpc"]) as channel:
            statuses = watch(channel, SERVICE)
            assert await anext(statuses) == SERVING
            await once(channel, b"go away")
            assert await anext(statuses) == NOT_SERVING
            assert await page(ready["metrics"], "/readyz") == 503
            await once(channel, b"come back")
            assert await anext(statuses) == SERVING
            await statuses.aclose()


async def watch(channel: Any, service: str = "") -> AsyncGenerator[int, None]:
    call = health_stub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
    try:
        async for response in call:
            yield response.status
    finally:
        call.cancel()
