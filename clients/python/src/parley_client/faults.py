"""What a failed call to the gateway means for whoever made it. Used by the SDK's calls."""

import grpc
import grpc.aio

from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.grpc_faults import fault_from_rpc_error

# Reasons that gRPC itself gives: no servicer of ours has said anything.
_NO_ANSWER, _TOO_LATE, _UNKNOWN_METHOD = "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"


def gateway_fault(error: grpc.aio.AioRpcError, target: str) -> Fault:
    """The fault of a call; where gRPC itself gave up, what to do is said."""
    fault = fault_from_rpc_error(error)
    if fault.domain:
        return fault
    if fault.reason == _NO_ANSWER:
        return unreachable(target)
    if fault.reason == _TOO_LATE:
        return too_late(target)
    if fault.reason == _UNKNOWN_METHOD:
        return Fault(
            "NOT_A_GATEWAY",
            f"what answers at {target} is not a Parley gateway of this version; set PARLEY_GATEWAY",
            code=FaultCode.UNIMPLEMENTED,
        )
    return fault


def unreachable(target: str) -> Fault:
    """There is no gateway, and what to do."""
    return Fault.unavailable(
        "GATEWAY_UNREACHABLE",
        f"no gateway answers at {target}; start one with 'parley up', or set PARLEY_GATEWAY",
        metadata={"target": target},
    )


def too_late(target: str) -> Fault:
    """The gateway is there and does not answer in time."""
    return Fault.deadline(
        "GATEWAY_TOO_SLOW", f"the gateway at {target} did not answer in time; 'parley doctor' may know why"
    )
