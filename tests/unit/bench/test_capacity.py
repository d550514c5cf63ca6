"""A load is held or not, and what gave way is named: a struggling client is never blamed on the gateway."""

import pytest

from bench.records import Refusal, SessionRecord
from bench.scenarios.capacity import Step, _judged, _per_core_figure


def record(**changes: object) -> SessionRecord:
    made = SessionRecord(0, 0.0, ready_at_s=0.1, frame_lateness_ms=[1.0] * 50, send_lateness_ms=[0.5] * 50)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def judged(*records: SessionRecord, gateway: float = 0.5) -> Step:
    third = {"gateway": gateway, "asr": 0.1, "llm": 0.2, "tts": 0.3, "load": 0.4}
    return _judged(len(records), [third] * 3, list(records), 10.0, 5)


def test_a_load_that_everybody_keeps_up_with_is_held() -> None:
    step = judged(record(), record())
    assert step.limit == ""
    assert step.per_core == 4.0
    assert step.services_cores == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"refusal": Refusal("AT_CAPACITY", 3.0, 1000)}, "AT_CAPACITY"),
        ({"ended_by": "HUNG_UP"}, "HUNG_UP"),
        ({"errors": ["STORE_UNAVAILABLE"]}, "STORE_UNAVAILABLE"),
        ({"send_lateness_ms": [80.0] * 50}, "load generator had no CPU left"),
        ({"frame_lateness_ms": [300.0] * 50}, "reply frames came 300 ms late"),
    ],
)
def test_what_gave_way_is_named(changes: dict[str, object], limit: str) -> None:
    assert limit in judged(record(), record(**changes)).limit


def test_a_late_client_counts_before_late_replies() -> None:
    late = record(send_lateness_ms=[80.0] * 50, frame_lateness_ms=[300.0] * 50)
    assert "load generator" in judged(late).limit


def test_a_full_core_is_the_gateways_limit_whatever_else_went_wrong() -> None:
    assert judged(record(ended_by="HUNG_UP"), gateway=0.97).limit == "the gateway's core was full"


def test_the_share_of_reply_audio_is_of_all_sessions_time() -> None:
    assert judged(record(reply_audio_ms=3000.0), record(reply_audio_ms=5000.0)).reply_share == pytest.approx(
        0.4
    )


def test_sessions_per_core_are_those_of_the_largest_load_held() -> None:
    step = judged(record(), record(), gateway=0.25)
    figure = _per_core_figure(step, [step])
    assert (figure.value, figure.unit, figure.spread) == (8.0, "sessions", (8.0, 8.0))
    assert "nothing gave way" in figure.how
