"""`Fault`: what it may say, and how it travels in google.rpc.Status."""

import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from parley_servicekit.faults import Fault, FaultCode, fault_in
from parley_servicekit.grpc_faults import fault_from_status, status_from_fault

reasons = st.from_regex(r"[A-Z][A-Z0-9_]{0,61}[A-Z0-9]", fullmatch=True)
faults = st.builds(
    Fault,
    reasons,
    st.text(max_size=400),
    code=st.sampled_from(FaultCode),
    retry_after_ms=st.none() | st.integers(0, 10**9),
    field=st.none() | st.text(min_size=1, max_size=80),
    metadata=st.dictionaries(
        st.from_regex(r"[a-z][a-zA-Z0-9_]{0,20}", fullmatch=True), st.text(max_size=150), max_size=8
    ),
    domain=st.sampled_from(["asr.parley", "llm.parley"]),
)


def told(fault: Fault) -> tuple[object, ...]:
    return (
        fault.reason,
        fault.message,
        fault.code,
        fault.retry_after_ms,
        fault.field,
        dict(fault.metadata),
        fault.domain,
        fault.retryable,
    )


@given(faults)
def test_a_fault_survives_the_wire(fault: Fault) -> None:
    data = status_from_fault(fault, "gateway.parley").SerializeToString()
    assert told(fault_from_status(status_pb2.Status.FromString(data))) == told(fault)


@given(faults)
def test_a_status_has_exactly_one_error_info_and_fits_the_trailers_of_a_peer(fault: Fault) -> None:
    status = status_from_fault(fault, "gateway.parley")
    infos = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1
    assert len(status.SerializeToString()) < 8192


def test_the_domain_of_the_process_fills_in_for_none() -> None:
    fault = Fault.not_found("NO_CONVERSATION", "there is no such conversation")
    assert fault_from_status(status_from_fault(fault, "gateway.parley")).domain == "gateway.parley"


@given(
    st.lists(
        st.tuples(st.sampled_from(["ErrorInfo", "BadRequest", "RetryInfo", "Other"]), st.binary(max_size=40))
    )
)
def test_malformed_details_never_break_the_reader(details: list[tuple[str, bytes]]) -> None:
    status = status_pb2.Status(code=14, message="words")
    for name, value in details:
        status.details.add(type_url=f"type.googleapis.com/google.rpc.{name}", value=value)
    assert fault_from_status(status).code is FaultCode.UNAVAILABLE


def test_the_message_of_a_status_that_is_not_ours_is_not_passed_on() -> None:
    fault = fault_from_status(status_pb2.Status(code=3, message="you said: hello"))
    assert fault.reason == "INVALID_ARGUMENT"
    assert "hello" not in str(fault)


def test_a_code_that_does_not_exist_is_unknown() -> None:
    assert fault_from_status(status_pb2.Status(code=99)).code is FaultCode.UNKNOWN


@pytest.mark.parametrize("reason", ["", "A", "lower", "WITH SPACE", "1ST", "A" * 64, "ENDS_"])
def test_a_reason_that_the_wire_does_not_allow_is_refused(reason: str) -> None:
    with pytest.raises(ValueError, match="UPPER_SNAKE"):
        Fault.internal(reason)


def test_too_much_metadata_is_refused_and_long_values_are_cut() -> None:
    with pytest.raises(ValueError, match="metadata"):
        Fault.caller("WRONG_WORD", "wrong", metadata={f"key{number}": "x" for number in range(9)})
    with pytest.raises(ValueError, match="metadata"):
        Fault.caller("WRONG_WORD", "wrong", metadata={"Bad Key": "x"})
    fault = Fault.caller("WRONG_WORD", "m" * 1000, metadata={"key": "x" * 1000})
    assert (len(fault.message), len(fault.metadata["key"])) == (300, 100)


def test_whose_fault_it_is_decides_the_code() -> None:
    assert Fault.caller("X1", "m").code is FaultCode.INVALID_ARGUMENT
    assert Fault.not_found("X1", "m").code is FaultCode.NOT_FOUND
    assert Fault.capacity("X1", "m", retry_after_ms=5).code is FaultCode.RESOURCE_EXHAUSTED
    assert Fault.unavailable("X1", "m").code is FaultCode.UNAVAILABLE
    assert Fault.deadline("X1", "m").code is FaultCode.DEADLINE_EXCEEDED
    assert Fault.unimplemented("X1", "m").code is FaultCode.UNIMPLEMENTED
    assert Fault.unauthenticated("X1", "m").code is FaultCode.UNAUTHENTICATED
    assert Fault.permission_denied("X1", "m").code is FaultCode.PERMISSION_DENIED
    assert Fault.internal().code is FaultCode.INTERNAL
    assert [Fault.internal().retryable, Fault.unavailable("X1", "m").retryable] == [False, True]


def test_a_group_of_faults_is_its_first_and_a_mixed_group_is_none() -> None:
    first, second = Fault.internal("FIRST"), Fault.internal("SECOND")
    assert fault_in(ExceptionGroup("tasks", [ExceptionGroup("inner", [first]), second])) is first
    assert fault_in(ExceptionGroup("tasks", [first, ValueError()])) is None
    assert fault_in(ValueError()) is None
