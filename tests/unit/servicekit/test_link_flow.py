"""Credit of one stream: what may be sent, what is refused, what is given back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.link_flow import (
    MESSAGE_COST_BYTES,
    MESSAGE_MAX_BYTES,
    WINDOW_BYTES,
    StreamFlow,
    cost,
)


def test_a_sender_stops_when_its_credit_is_spent_and_goes_on_when_it_is_given_back() -> None:
    flow = StreamFlow()
    flow.sent(bytes(WINDOW_BYTES))
    assert not flow.can_send
    flow.granted(cost(bytes(WINDOW_BYTES)))
    assert flow.can_send


def test_a_long_message_may_take_the_credit_below_zero() -> None:
    sender, receiver = StreamFlow(), StreamFlow()
    message = bytes(10 * WINDOW_BYTES)
    sender.sent(message)
    receiver.received(message)
    taken, credit = receiver.take()
    assert (taken, credit) == (message, cost(message))
    sender.granted(credit)
    assert sender.can_send


def test_empty_messages_are_not_free() -> None:
    flow = StreamFlow()
    count = 0
    while flow.can_send:
        flow.sent(b"")
        count += 1
    assert count == WINDOW_BYTES // MESSAGE_COST_BYTES


@pytest.mark.parametrize("credit", [0, 1, 2**32 - 1])
def test_credit_that_was_not_spent_is_a_violation(credit: int) -> None:
    with pytest.raises(Fault) as refused:
        StreamFlow().granted(credit)
    assert (refused.value.reason, refused.value.code) == ("LINK_VIOLATION", FaultCode.INVALID_ARGUMENT)


def test_a_message_without_credit_is_a_violation() -> None:
    flow = StreamFlow()
    flow.received(bytes(WINDOW_BYTES))
    with pytest.raises(Fault, match="without credit"):
        flow.received(b"")


def test_a_message_that_is_too_long_is_a_violation() -> None:
    with pytest.raises(Fault, match="too long"):
        StreamFlow().received(bytes(MESSAGE_MAX_BYTES + 1))


@given(st.lists(st.one_of(st.none(), st.integers(0, 3 * WINDOW_BYTES)), max_size=200))
def test_two_ends_never_disagree_and_never_stop_for_good(steps: list[int | None]) -> None:
    """A number is a message of that length that is written if it may be; None is a message that is read."""
    sender, receiver = StreamFlow(), StreamFlow()
    sent: list[bytes] = []
    read: list[bytes] = []
    for step in steps:
        if step is not None and sender.can_send:
            sent.append(bytes(step))
            sender.sent(sent[-1])
            receiver.received(sent[-1])
        elif step is None and receiver.inbox:
            message, credit = receiver.take()
            read.append(message)
            if credit:
                sender.granted(credit)
        waiting = sum(map(cost, sent[len(read) :]))
        longest = max(map(cost, sent), default=0)
        assert waiting <= WINDOW_BYTES + longest
        assert sender.can_send or receiver.inbox, (
            "nothing can be sent, and nothing can be read to change that"
        )
    assert read == sent[: len(read)]
