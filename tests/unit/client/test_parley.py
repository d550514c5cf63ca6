"""A gateway's address, and what a call that failed means for whoever made it."""

import grpc
import grpc.aio
import pytest

from parley_client import DEFAULT_TARGET, Fault, Parley
from parley_client.faults import gateway_fault
from parley_servicekit.faults import FaultCode


def failed(code: grpc.StatusCode) -> Fault:
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "some words of grpc")
    return gateway_fault(error, "host:1")


@pytest.mark.parametrize(
    "target",
    ["host:1", "host:65535", "127.0.0.1:50050", "[::1]:50050", "dns:///host.example:50050", "unix:/run/x"],
)
async def test_these_are_addresses(target: str) -> None:
    async with Parley(target) as parley:
        assert parley.target == target


@pytest.mark.parametrize(
    "target",
    [
        "host", "host:", ":1", "host:0", "host:65536", "host:123456", "http://host:1", "host:1/", "a b:1",
        "::1:50050", "host:１", "host:1\n", "dns:///host", "unix:",
    ],
)  # fmt: skip
async def test_these_are_not(target: str) -> None:
    with pytest.raises(Fault, match="host:port") as raised:
        Parley(target)
    assert raised.value.reason == "BAD_TARGET"
    assert raised.value.code is FaultCode.INVALID_ARGUMENT


async def test_the_address_comes_from_the_environment_unless_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PARLEY_GATEWAY", "elsewhere:7")
    async with Parley() as from_environment, Parley("given:8") as given:
        assert (from_environment.target, given.target) == ("elsewhere:7", "given:8")
    monkeypatch.setenv("PARLEY_GATEWAY", "")
    async with Parley() as usual:
        assert usual.target == DEFAULT_TARGET


@pytest.mark.parametrize(
    ("code", "reason", "fault_code"),
    [
        (grpc.StatusCode.UNAVAILABLE, "GATEWAY_UNREACHABLE", FaultCode.UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "GATEWAY_TOO_SLOW", FaultCode.DEADLINE_EXCEEDED),
        (grpc.StatusCode.UNIMPLEMENTED, "NOT_A_GATEWAY", FaultCode.UNIMPLEMENTED),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", FaultCode.RESOURCE_EXHAUSTED),
    ],
)
def test_what_grpc_itself_says_becomes_what_to_do(
    code: grpc.StatusCode, reason: str, fault_code: FaultCode
) -> None:
    fault = failed(code)
    assert (fault.reason, fault.code) == (reason, fault_code)
    if reason != code.name:
        assert "host:1" in fault.message
