"""When speech starts, pauses, resumes and ends: examples, and properties over any sequence of windows."""

from hypothesis import given, settings
from hypothesis import strategies as st

from parley_asr.ports import WINDOW_SAMPLE_COUNT
from parley_asr.voice_activity import WINDOW_MS, Activity, ActivityKind, Endpointing, VoiceActivity

KINDS = {
    ActivityKind.STARTED: "S",
    ActivityKind.PAUSED: "P",
    ActivityKind.RESUMED: "R",
    ActivityKind.ENDED: "E",
}
ENDPOINTING = Endpointing(end_silence_ms=192, pause_silence_ms=96)


def told(windows: str, endpointing: Endpointing = ENDPOINTING, delay: int = 0) -> list[tuple[str, int, int]]:
    """(kind, window in which it was told, window that its offset names); `.` is silent, `#` is speech."""
    activity = VoiceActivity(endpointing, onset_delay_window_count=delay, min_speech_window_count=2)
    changes = [(index, activity.step(window == "#")) for index, window in enumerate(windows)]
    return [
        (KINDS[change.kind], index, change.offset_samples // WINDOW_SAMPLE_COUNT)
        for index, change in changes
        if change is not None
    ]


def test_a_click_of_one_window_is_not_speech() -> None:
    assert told("..#..#...") == []


def test_speech_starts_where_its_first_window_begins() -> None:
    assert told("..###") == [("S", 3, 2)]


def test_a_late_detector_is_dated_back() -> None:
    assert told("...###", delay=1) == [("S", 4, 2)]


def test_silence_pauses_and_then_ends_an_utterance_at_its_last_speech_window() -> None:
    assert told("###......") == [("S", 1, 0), ("P", 5, 3), ("E", 8, 3)]


def test_speech_after_a_pause_resumes_and_puts_the_end_off() -> None:
    assert told("##....##......") == [("S", 1, 0), ("P", 4, 2), ("R", 6, 6), ("P", 10, 8), ("E", 13, 8)]


def test_a_resumption_is_never_dated_back_into_the_speech_before_it() -> None:
    assert told("##...#", delay=9)[2] == ("R", 5, 2)


def test_when_pause_and_end_coincide_only_the_end_is_told() -> None:
    assert told("##.....", Endpointing(end_silence_ms=96, pause_silence_ms=96)) == [("S", 1, 0), ("E", 4, 2)]


def test_a_manual_utterance_pauses_but_never_ends_by_silence() -> None:
    manual = Endpointing(manual=True, end_silence_ms=192, pause_silence_ms=96)
    assert [kind for kind, _, _ in told("##" + "." * 1000 + "##", manual)] == ["S", "P", "R"]


def test_a_second_utterance_does_not_reach_back_into_the_first() -> None:
    activity = VoiceActivity(ENDPOINTING, onset_delay_window_count=5, min_speech_window_count=2)
    for _ in range(4):
        activity.step(True)
    assert activity.finish() == Activity(ActivityKind.ENDED, 4 * WINDOW_SAMPLE_COUNT)
    assert activity.step(True) is None
    assert activity.step(True) == Activity(ActivityKind.STARTED, 4 * WINDOW_SAMPLE_COUNT)


def test_finishing_without_speech_tells_nothing() -> None:
    activity = VoiceActivity(ENDPOINTING)
    activity.step(True)
    assert activity.finish() is None


def test_resetting_forgets_speech_without_an_end() -> None:
    activity = VoiceActivity(ENDPOINTING, min_speech_window_count=1)
    activity.step(True)
    activity.reset()
    assert not activity.in_utterance
    assert all(activity.step(False) is None for _ in range(100))


ALLOWED = {"": "S", "S": "PE", "P": "RE", "R": "PE", "E": "S"}


@settings(deadline=None)
@given(
    windows=st.lists(st.booleans(), max_size=300),
    end_ms=st.integers(100, 2000),
    pause_share=st.floats(0.05, 1),
    delay=st.integers(0, 3),
    min_speech=st.integers(1, 6),
    manual=st.booleans(),
)
def test_whatever_is_heard_the_changes_make_sense(
    windows: list[bool], end_ms: int, pause_share: float, delay: int, min_speech: int, manual: bool
) -> None:
    endpointing = Endpointing(manual, end_ms, max(50, int(end_ms * pause_share)))
    activity = VoiceActivity(endpointing, onset_delay_window_count=delay, min_speech_window_count=min_speech)
    last_kind, last_offset, last_speech = "", 0, 0
    for index, window in enumerate(windows):
        change = activity.step(window)
        if change is not None:
            kind = KINDS[change.kind]
            assert kind in ALLOWED[last_kind]
            assert last_offset <= change.offset_samples <= (index + 1) * WINDOW_SAMPLE_COUNT
            if kind in "PE":
                assert change.offset_samples == last_speech
            assert not (manual and kind == "E")
            last_kind, last_offset = kind, change.offset_samples
        last_speech = (index + 1) * WINDOW_SAMPLE_COUNT if window else last_speech
        silent_ms = ((index + 1) * WINDOW_SAMPLE_COUNT - last_speech) // WINDOW_SAMPLE_COUNT * WINDOW_MS
        assert activity.in_utterance == (last_kind not in ("", "E"))
        assert manual or not activity.in_utterance or silent_ms < end_ms
