"""What a `TurnPolicy` refuses."""

import pytest

from parley_gateway.turns.policy import BargeIn, TurnPolicy, TurnPolicyError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("end_silence_min_ms", 99),
        ("end_silence_max_ms", 10_001),
        ("no_speech_timeout_ms", -1),
        ("min_barge_in_ms", 2_001),
        ("utterance_max_ms", 0),
        ("final_deadline_ms", 0),
        ("turn_deadline_ms", 10**12),
        ("reply_stall_ms", 0),
        ("playback_margin_ms", -1),
        ("turn_text_max_characters", 1),
        ("turn_deadline_ms", 5000.0),
        ("min_barge_in_ms", True),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(field: str, value: int) -> None:
    with pytest.raises(TurnPolicyError) as refusal:
        TurnPolicy(**{field: value})  # type: ignore[arg-type]
    assert refusal.value.field == field


def test_the_longest_silence_cannot_be_shorter_than_the_shortest() -> None:
    with pytest.raises(TurnPolicyError) as refusal:
        TurnPolicy(end_silence_min_ms=1_000, end_silence_max_ms=999)
    assert refusal.value.field == "end_silence_max_ms"


def test_judged_barge_in_is_refused_by_name() -> None:
    with pytest.raises(TurnPolicyError) as refusal:
        TurnPolicy(barge_in=BargeIn.JUDGED)
    assert refusal.value.field == "barge_in"
