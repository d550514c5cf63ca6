"""When a reply fell silent, when the engines saw it, and what was buffered for a client that did not read."""

import json
from collections.abc import AsyncIterator

import pytest

from bench.plan import SessionPlan, SpokenTurn, make_plan
from bench.records import SessionRecord, TurnRecord
from bench.scenarios import interruption
from bench.stalled_client import burst
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_servicekit.faults import Fault

SPOKEN = (SpokenTurn("stop", 10, 0), SpokenTurn("stop", 200, 160))
PLAN = make_plan(1, interruption.plan_shape(is_short=True))
ONE = type(PLAN)(1, PLAN.turns, (SessionPlan(0, 0, 400, SPOKEN, ends_anywhere=False),))


def record(first: TurnRecord, onset_at_s: float = 20.0) -> list[SessionRecord]:
    made = SessionRecord(0, 0.0)
    made.turns = [first, TurnRecord(1, onset_at_s)]
    return [made]


def test_a_stop_is_measured_from_the_labelled_sample_on() -> None:
    reply = TurnRecord(0, 10.0, 11.0, 12.0, first_audio_at_s=13.0, ended_at_s=20.1, outcome="INTERRUPTED")
    # Sample 160 of 320 of the frame that left at 20.0: 10 ms before.
    assert interruption.stop_delays(ONE, record(reply)) == ([pytest.approx(110.0)], 0)


def test_a_reply_that_goes_on_is_missed_and_one_that_nobody_heard_yet_does_not_count() -> None:
    on = TurnRecord(0, 10.0, 11.0, 12.0, first_audio_at_s=13.0, ended_at_s=25.0, outcome="COMPLETED")
    assert interruption.stop_delays(ONE, record(on)) == ([], 1)
    late = TurnRecord(0, 10.0, 11.0, 12.0, first_audio_at_s=20.5, ended_at_s=21.0, outcome="INTERRUPTED")
    assert interruption.stop_delays(ONE, record(late)) == ([], 0)
    unheard = TurnRecord(0, 10.0, 11.0, 12.0)
    assert interruption.stop_delays(ONE, record(unheard)) == ([], 0)


def test_cancels_are_read_from_the_log_of_a_process() -> None:
    lines = [
        {"event": "chat.ended", "outcome": "cancelled", "timestamp": "1970-01-01T00:01:40.250000Z"},
        {"event": "chat.ended", "outcome": "completed", "timestamp": "1970-01-01T00:01:41Z"},
        {"event": "chat.ended", "outcome": "cancelled", "timestamp": "1970-01-01T00:01:42Z"},
    ]
    log = "\n".join(json.dumps(line) for line in lines)
    assert interruption.cancelled_at_s(log) == [100.25, 102.0]


def test_each_interrupt_goes_with_the_first_cancel_after_it_and_a_missing_one_with_none() -> None:
    assert interruption.delays_after([100.0, 110.0, 120.0], [99.0, 100.5, 100.6, 121.0]) == [500.0, 1000.0]
    assert interruption.delays_after([100.0], [102.5]) == []


def test_interrupts_are_planned_from_the_seed() -> None:
    assert interruption.interrupt_delays(5, 9) == interruption.interrupt_delays(5, 9)
    assert interruption.interrupt_delays(5, 9) != interruption.interrupt_delays(6, 9)


def audio(milliseconds: int) -> pb2.ConverseResponse:
    response = pb2.ConverseResponse()
    response.reply_audio.audio.duration.FromMilliseconds(milliseconds)
    return response


async def test_a_burst_holds_all_audio_that_waits_whatever_comes_in_between() -> None:
    async def responses() -> AsyncIterator[pb2.ConverseResponse]:
        for _ in range(5):
            yield audio(100)
            yield pb2.ConverseResponse()

    stall = await burst(responses())
    assert (stall.buffered_ms, stall.ended_by) == (500.0, "ended")


async def test_a_stream_that_was_broken_off_meanwhile_says_why() -> None:
    async def responses() -> AsyncIterator[pb2.ConverseResponse]:
        yield audio(100)
        raise Fault.deadline("CLIENT_STALLED", "the client has stopped reading")

    stall = await burst(responses())
    assert (stall.buffered_ms, stall.ended_by) == (100.0, "CLIENT_STALLED")
