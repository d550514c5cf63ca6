"""What `TurnTaker` does when something does not happen, or fails."""

from parley_gateway.turns import events
from parley_gateway.turns.actions import (
    Action,
    CommitTurn,
    DiscardRecognition,
    ErrorReason,
    FinishOutcome,
    FinishReply,
    FlushRecognition,
    ReportError,
    ResumeReply,
    StartReply,
)
from parley_gateway.turns.policy import TurnDetection, TurnPolicy
from parley_gateway.turns.turn_taker import TurnState, TurnTaker

POLICY = TurnPolicy()


def play(taker: TurnTaker, *happened: events.Event) -> list[Action]:
    """All actions of some events in a row."""
    return [action for event in happened for action in taker.handle(event)]


def asked(policy: TurnPolicy = POLICY) -> TurnTaker:
    """A turn-taker whose reply 1 was started at 1,000 ms."""
    taker = TurnTaker(policy)
    assert StartReply(1, 1) in play(taker, events.TextReceived(1_000, "hello"))
    return taker


def test_a_transcript_that_never_comes_is_a_typed_error() -> None:
    taker = TurnTaker(POLICY)
    play(taker, events.SpeechStarted(0, 0), events.SpeechEnded(1_000, 900))
    assert taker.next_wake_ms == 1_000 + POLICY.final_deadline_ms
    assert taker.handle(events.TimeAdvanced(5_999)) == []
    overdue = taker.handle(events.TimeAdvanced(6_000))
    assert overdue == [DiscardRecognition(), ReportError(ErrorReason.RECOGNITION_TIMEOUT)]
    assert taker.state is TurnState.LISTENING


def test_an_overdue_transcript_is_not_taken_for_the_next_one() -> None:
    taker = TurnTaker(POLICY)
    play(taker, events.SpeechStarted(0, 0), events.SpeechEnded(1_000, 900), events.TimeAdvanced(6_000))
    play(taker, events.SpeechStarted(7_000, 6_900), events.SpeechEnded(8_000, 7_900))
    assert taker.handle(events.TranscriptFinal(8_010, "old words", "", 0, 900)) == []
    commit = taker.handle(events.TranscriptFinal(8_020, "new words", "", 6_900, 7_900))[0]
    assert isinstance(commit, CommitTurn)
    assert commit.text == "new words"


def test_an_overdue_transcript_does_not_discard_what_is_being_said_now() -> None:
    taker = TurnTaker(POLICY)
    play(
        taker, events.SpeechStarted(0, 0), events.SpeechEnded(1_000, 900), events.SpeechStarted(1_500, 1_400)
    )
    assert taker.handle(events.TimeAdvanced(6_000)) == [ReportError(ErrorReason.RECOGNITION_TIMEOUT)]
    assert taker.state is TurnState.HEARING


def test_a_pause_that_the_recogniser_does_not_end_is_ended() -> None:
    taker = TurnTaker(POLICY)
    play(taker, events.SpeechStarted(0, 0), events.SpeechPaused(1_000, 800))
    assert taker.handle(events.TimeAdvanced(2_999)) == []
    assert taker.handle(events.TimeAdvanced(3_000)) == [FlushRecognition()]
    assert taker.state is TurnState.TRANSCRIBING


def test_going_on_after_a_pause_keeps_the_floor() -> None:
    taker = TurnTaker(POLICY)
    play(
        taker, events.SpeechStarted(0, 0), events.SpeechPaused(1_000, 800), events.SpeechStarted(1_500, 1_500)
    )
    assert taker.handle(events.TimeAdvanced(20_000)) == []
    assert taker.state is TurnState.HEARING


def test_steady_noise_cannot_hold_the_floor_for_ever() -> None:
    taker = TurnTaker(POLICY)
    taker.handle(events.SpeechStarted(0, 0))
    assert taker.next_wake_ms == POLICY.utterance_max_ms
    assert taker.handle(events.TimeAdvanced(POLICY.utterance_max_ms)) == [FlushRecognition()]


def test_pauses_do_not_prolong_the_longest_utterance() -> None:
    taker = TurnTaker(POLICY)
    play(
        taker, events.SpeechStarted(0, 0), events.SpeechPaused(1_000, 800), events.SpeechStarted(1_500, 1_500)
    )
    assert taker.next_wake_ms == POLICY.utterance_max_ms


def test_a_button_held_for_ever_is_released() -> None:
    taker = TurnTaker(TurnPolicy(detection=TurnDetection.PUSH_TO_TALK))
    taker.handle(events.TurnStartRequested(0))
    assert taker.handle(events.TimeAdvanced(POLICY.utterance_max_ms)) == [FlushRecognition()]
    assert taker.handle(events.TurnEndRequested(POLICY.utterance_max_ms + 1)) == []


def test_a_client_that_stops_sending_audio_in_the_middle_of_speech_ends_it() -> None:
    taker = TurnTaker(POLICY)
    assert taker.handle(events.InputAudioStopped(1)) == []
    taker.handle(events.SpeechStarted(10, 0))
    assert taker.handle(events.InputAudioStopped(2_500)) == [FlushRecognition()]


def test_a_failed_recognition_is_reported_and_listening_goes_on() -> None:
    taker = TurnTaker(POLICY)
    play(taker, events.SpeechStarted(0, 0), events.SpeechEnded(1_000, 900))
    assert taker.handle(events.RecognitionFailed(1_100, "ASR_UNAVAILABLE")) == [
        ReportError("ASR_UNAVAILABLE")
    ]
    assert taker.state is TurnState.LISTENING
    assert taker.handle(events.RecognitionFailed(1_200, "ASR_UNAVAILABLE")) == [
        ReportError("ASR_UNAVAILABLE")
    ]


def test_a_failed_recognition_lets_a_reply_that_was_held_back_go_on() -> None:
    taker = asked()
    taker.handle(events.SpeechStarted(1_100, 1_000))
    failed = taker.handle(events.RecognitionFailed(1_200, "ASR_UNAVAILABLE"))
    assert failed == [ReportError("ASR_UNAVAILABLE"), ResumeReply(1)]


def test_a_failed_transcript_does_not_take_the_floor_from_who_speaks_again() -> None:
    taker = TurnTaker(POLICY)
    play(
        taker, events.SpeechStarted(0, 0), events.SpeechEnded(1_000, 900), events.SpeechStarted(1_500, 1_400)
    )
    assert taker.handle(events.RecognitionFailed(1_600, "X")) == [ReportError("X")]
    assert taker.state is TurnState.HEARING


def test_a_reply_without_audio_in_time_is_failed_with_a_typed_error() -> None:
    taker = asked()
    play(taker, events.ReplyTextStarted(1_500, 1), events.ReplyProgressed(5_900, 1))
    assert taker.next_wake_ms == 1_000 + POLICY.turn_deadline_ms
    assert taker.handle(events.TimeAdvanced(5_999)) == []
    assert taker.handle(events.TimeAdvanced(6_000)) == [
        FinishReply(1, FinishOutcome.FAILED),
        ReportError(ErrorReason.REPLY_TIMEOUT, turn_id=1, reply_id=1),
    ]
    assert taker.state is TurnState.LISTENING


def test_a_reply_under_way_that_makes_no_progress_is_failed() -> None:
    taker = asked()
    play(taker, events.ReplyAudioStarted(2_000, 1), events.ReplyProgressed(3_000, 1))
    assert taker.handle(events.TimeAdvanced(12_999)) == []
    assert taker.handle(events.TimeAdvanced(13_000)) == [
        FinishReply(1, FinishOutcome.FAILED),
        ReportError(ErrorReason.REPLY_STALLED, turn_id=1, reply_id=1),
    ]


def test_a_client_that_reports_no_playback_does_not_hang_the_session() -> None:
    taker = asked()
    play(taker, events.ReplyAudioStarted(2_000, 1), events.ReplyGenerationFinished(2_300, 1, 4_000))
    assert taker.next_wake_ms == 2_000 + 4_000 + POLICY.playback_margin_ms
    assert taker.handle(events.TimeAdvanced(7_499)) == []
    assert taker.handle(events.TimeAdvanced(7_500)) == [FinishReply(1, FinishOutcome.COMPLETED)]


def test_a_reply_made_slower_than_it_plays_is_not_cut_by_the_clock() -> None:
    taker = asked()
    play(taker, events.ReplyAudioStarted(2_000, 1), events.ReplyGenerationFinished(9_000, 1, 4_000))
    assert taker.next_wake_ms == 9_000 + POLICY.playback_margin_ms


def test_audio_starts_once() -> None:
    taker = asked()
    play(taker, events.ReplyAudioStarted(2_000, 1), events.ReplyAudioStarted(3_000, 1))
    taker.handle(events.ReplyGenerationFinished(3_100, 1, 4_000))
    assert taker.next_wake_ms == 2_000 + 4_000 + POLICY.playback_margin_ms


def test_a_client_that_plays_late_gets_the_time_it_needs() -> None:
    taker = asked()
    play(taker, events.ReplyAudioStarted(2_000, 1), events.ReplyGenerationFinished(2_300, 1, 4_000))
    taker.handle(events.PlaybackReported(5_000, 1, 1_000))
    assert taker.next_wake_ms == 5_000 + 3_000 + POLICY.playback_margin_ms


def test_repeating_a_playback_report_gains_no_time() -> None:
    taker = asked()
    play(taker, events.ReplyAudioStarted(2_000, 1), events.ReplyGenerationFinished(2_300, 1, 4_000))
    play(taker, events.PlaybackReported(5_000, 1, 1_000), events.PlaybackReported(9_000, 1, 1_000))
    assert taker.next_wake_ms == 5_000 + 3_000 + POLICY.playback_margin_ms


def test_an_empty_reply_is_a_typed_error() -> None:
    taker = asked()
    taker.handle(events.ReplyTextStarted(1_100, 1))
    assert taker.handle(events.ReplyGenerationFinished(1_200, 1, 0)) == [
        FinishReply(1, FinishOutcome.FAILED),
        ReportError(ErrorReason.REPLY_EMPTY, turn_id=1, reply_id=1),
    ]


def test_an_empty_text_only_reply_is_a_typed_error() -> None:
    taker = asked(TurnPolicy(speaks=False))
    failed = taker.handle(events.ReplyGenerationFinished(1_200, 1, 0))
    assert ReportError(ErrorReason.REPLY_EMPTY, turn_id=1, reply_id=1) in failed


def test_a_failed_reply_is_reported_with_its_reason_and_listening_goes_on() -> None:
    taker = asked()
    assert taker.handle(events.ReplyFailed(1_500, 1, "LLM_UNAVAILABLE")) == [
        FinishReply(1, FinishOutcome.FAILED),
        ReportError("LLM_UNAVAILABLE", turn_id=1, reply_id=1),
    ]
    assert taker.state is TurnState.LISTENING


def test_a_failed_greeting_names_no_turn() -> None:
    taker = TurnTaker(POLICY)
    taker.handle(events.GreetingRequested(0))
    failed = taker.handle(events.ReplyFailed(10, 1, "LLM_UNAVAILABLE"))
    assert ReportError("LLM_UNAVAILABLE", turn_id=None, reply_id=1) in failed


def test_nobody_speaking_is_reported_once_for_each_time_of_listening() -> None:
    taker = TurnTaker(TurnPolicy(no_speech_timeout_ms=8_000))
    assert taker.handle(events.TimeAdvanced(8_000)) == [ReportError(ErrorReason.NO_SPEECH)]
    assert taker.handle(events.TimeAdvanced(80_000)) == []
    play(taker, events.TextReceived(90_000, "hi"), events.ReplyFailed(91_000, 1, "X"))
    assert taker.next_wake_ms == 99_000
    assert taker.handle(events.TimeAdvanced(99_000)) == [ReportError(ErrorReason.NO_SPEECH)]


def test_time_that_runs_backwards_counts_as_standing_still() -> None:
    taker = asked()
    taker.handle(events.TimeAdvanced(3_000))
    taker.handle(events.ReplyAudioStarted(500, 1))
    assert taker.next_wake_ms == 3_000 + POLICY.reply_stall_ms


def test_only_time_advanced_lets_a_deadline_pass() -> None:
    taker = asked()
    assert taker.handle(events.ReplyTextStarted(60_000, 1)) == []
    assert taker.handle(events.ReplyAudioStarted(60_001, 1)) == []
    assert taker.state is TurnState.REPLYING
