"""`PlayoutClock`: never more played than sent, never more than 300 ms ahead, reports believed within that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_gateway.session.playback import LEAD_MAX_MS, PlayoutClock

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "report", "wait"]),
        st.floats(0, 5000, allow_nan=False),
    ),
    max_size=60,
)


@given(STEPS)
def test_played_is_never_more_than_sent_and_sent_never_too_far_ahead(steps: list[tuple[str, float]]) -> None:
    clock, now_ms = PlayoutClock(), 0.0
    for kind, value in steps:
        if kind == "wait":
            now_ms += value
        elif kind == "report":
            clock.reported(value, now_ms)
        else:
            duration_ms = min(value, 200.0)
            now_ms += clock.wait_ms(duration_ms, now_ms)
            clock.sent(duration_ms, now_ms)
            assert clock.rest_ms(now_ms) <= LEAD_MAX_MS + 1e-6
        assert 0 <= clock.heard_ms(now_ms) <= clock.sent_ms
        assert clock.position_ms(now_ms) <= clock.sent_ms
        assert clock.rest_ms(now_ms) >= 0


@given(STEPS)
def test_playing_never_goes_back_without_a_report(steps: list[tuple[str, float]]) -> None:
    clock, now_ms, position_ms = PlayoutClock(), 0.0, 0.0
    for kind, value in steps:
        if kind == "send":
            clock.sent(value, now_ms)
        now_ms += value if kind == "wait" else 0.0
        assert clock.position_ms(now_ms) >= position_ms - 1e-6
        position_ms = clock.position_ms(now_ms)


def test_audio_longer_than_the_lead_leaves_when_everything_before_is_played() -> None:
    clock = PlayoutClock()
    clock.sent(200.0, 0.0)
    assert clock.wait_ms(1000.0, 0.0) == 200.0
    assert clock.wait_ms(1000.0, 200.0) == 0.0


def test_a_buffer_that_ran_dry_is_an_underrun_and_playing_waits_for_more() -> None:
    clock = PlayoutClock()
    clock.sent(100.0, 0.0)
    clock.sent(100.0, 500.0)
    assert clock.underrun_count == 1
    assert clock.position_ms(550.0) == 150.0


def test_a_report_of_less_than_before_counts_as_before() -> None:
    clock = PlayoutClock()
    clock.sent(1000.0, 0.0)
    clock.reported(400.0, 500.0)
    clock.reported(100.0, 600.0)
    assert clock.heard_ms(600.0) == 400.0


def test_between_reports_playing_is_taken_to_go_on_but_only_reports_are_sure() -> None:
    clock = PlayoutClock()
    clock.sent(1000.0, 0.0)
    clock.reported(100.0, 200.0)
    assert clock.position_ms(300.0) == 200.0
    assert clock.heard_ms(300.0) == 100.0
    assert clock.heard_ms(300.0) == pytest.approx(100.0)
