"""The rules of `TurnTaker`, one by one."""

import pytest

from parley_gateway.turns import events
from parley_gateway.turns.actions import (
    Action,
    CancelReason,
    CancelReply,
    CommitTurn,
    DiscardRecognition,
    FinishOutcome,
    FinishReply,
    FlushRecognition,
    PauseReply,
    ResumeReply,
    StartReply,
)
from parley_gateway.turns.policy import BargeIn, TurnPolicy
from parley_gateway.turns.turn_taker import TurnState, TurnTaker

HALF_DUPLEX = TurnPolicy(barge_in=BargeIn.OFF)


class Scene:
    """A conversation that a test plays through, keeping the time and the audio offset."""

    def __init__(self, policy: TurnPolicy | None = None) -> None:
        self.policy = policy or TurnPolicy()
        self.taker = TurnTaker(self.policy)
        self.now_ms = 0

    def after(self, duration_ms: int) -> list[Action]:
        self.now_ms += duration_ms
        return self.taker.handle(events.TimeAdvanced(self.now_ms))

    def start_speaking(self) -> list[Action]:
        self.now_ms += 10
        return self.taker.handle(events.SpeechStarted(self.now_ms, self.now_ms))

    def pause(self) -> list[Action]:
        self.now_ms += 10
        return self.taker.handle(events.SpeechPaused(self.now_ms, self.now_ms))

    def stop_speaking(self) -> list[Action]:
        self.now_ms += 10
        return self.taker.handle(events.SpeechEnded(self.now_ms, self.now_ms))

    def final(self, text: str, start_offset_ms: int | None = None) -> list[Action]:
        self.now_ms += 10
        return self.taker.handle(events.TranscriptFinal(self.now_ms, text, "en", start_offset_ms, None))

    def say(self, text: str) -> list[Action]:
        return [*self.start_speaking(), *self.stop_speaking(), *self.final(text)]

    def send(self, kind: type[events.Event], *fields: object) -> list[Action]:
        self.now_ms += 10
        return self.taker.handle(kind(self.now_ms, *fields))

    def hear_reply(self, reply_id: int = 1) -> None:
        assert self.send(events.ReplyTextStarted, reply_id) == []
        assert self.send(events.ReplyAudioStarted, reply_id) == []

    def is_in(self, state: TurnState) -> bool:
        return self.taker.state is state


def committed(turn_id: int, revision: int, text: str) -> CommitTurn:
    return CommitTurn(turn_id, revision, text, "en", None, None, is_typed=False)


def test_a_final_transcript_is_committed_and_answered_at_once() -> None:
    scene = Scene()
    assert scene.start_speaking() == []
    assert scene.is_in(TurnState.HEARING)
    assert scene.stop_speaking() == []
    assert scene.is_in(TurnState.TRANSCRIBING)
    assert scene.final("  what time is it ") == [committed(1, 1, "what time is it"), StartReply(1, 1)]
    assert scene.is_in(TurnState.PREPARING)


def test_the_turn_carries_language_and_audio_offsets() -> None:
    taker = TurnTaker(TurnPolicy(), first_turn_id=7, first_reply_id=40)
    taker.handle(events.SpeechStarted(2_000, 1_200))
    taker.handle(events.SpeechEnded(3_000, 1_900))
    actions = taker.handle(events.TranscriptFinal(3_100, "bonjour", "fr", 1_200, 1_900))
    expected = CommitTurn(7, 1, "bonjour", "fr", 1_200, 1_900, is_typed=False)
    assert actions == [expected, StartReply(40, 7)]


@pytest.mark.parametrize("text", ["", "  \n", ".", "…", "。"])
def test_a_transcript_without_words_is_not_answered_and_no_error(text: str) -> None:
    scene = Scene()
    assert scene.say(text) == []
    assert scene.is_in(TurnState.LISTENING)


def test_a_partial_transcript_decides_nothing() -> None:
    scene = Scene()
    scene.start_speaking()
    assert scene.send(events.TranscriptPartial, "stop stop stop") == []
    assert scene.is_in(TurnState.HEARING)


def test_a_reply_is_completed_when_the_client_has_played_it_all() -> None:
    scene = Scene()
    scene.say("hello")
    scene.hear_reply()
    assert scene.is_in(TurnState.REPLYING)
    assert scene.send(events.PlaybackReported, 1, 400) == []
    assert scene.send(events.ReplyGenerationFinished, 1, 900) == []
    assert scene.is_in(TurnState.PLAYING_OUT)
    assert scene.send(events.PlaybackReported, 1, 899) == []
    assert scene.send(events.PlaybackReported, 1, 900) == [FinishReply(1, FinishOutcome.COMPLETED)]
    assert scene.is_in(TurnState.LISTENING)


def test_playback_finished_before_the_reply_is_made_ends_nothing() -> None:
    scene = Scene()
    scene.say("hello")
    scene.hear_reply()
    assert scene.send(events.PlaybackFinished, 1) == []
    scene.send(events.ReplyGenerationFinished, 1, 900)
    assert scene.send(events.PlaybackFinished, 1) == [FinishReply(1, FinishOutcome.COMPLETED)]


def test_playback_of_a_reply_that_was_never_sent_ends_nothing() -> None:
    scene = Scene()
    scene.say("hello")
    assert scene.send(events.ReplyGenerationFinished, 1, 900) == []
    assert scene.send(events.PlaybackReported, 1, 900) == []
    assert scene.send(events.PlaybackFinished, 1) == []
    assert scene.is_in(TurnState.PREPARING)


def test_speech_during_a_reply_cancels_it() -> None:
    scene = Scene()
    scene.say("hello")
    scene.hear_reply()
    assert scene.start_speaking() == [CancelReply(1, CancelReason.SPEECH)]
    assert scene.is_in(TurnState.HEARING)
    scene.stop_speaking()
    assert scene.final("stop") == [committed(2, 1, "stop"), StartReply(2, 2)]


def test_speech_while_a_finished_reply_is_still_playing_cancels_it() -> None:
    scene = Scene()
    scene.say("hello")
    scene.hear_reply()
    scene.send(events.ReplyGenerationFinished, 1, 60_000)
    assert scene.start_speaking() == [CancelReply(1, CancelReason.SPEECH)]


def test_a_cough_during_a_reply_leads_back_to_listening() -> None:
    scene = Scene()
    scene.say("hello")
    scene.hear_reply()
    assert scene.say("") == [CancelReply(1, CancelReason.SPEECH)]
    assert scene.is_in(TurnState.LISTENING)


def test_speech_must_last_the_minimum_to_barge_in() -> None:
    scene = Scene(TurnPolicy(min_barge_in_ms=300))
    scene.say("hello")
    scene.hear_reply()
    assert scene.start_speaking() == []
    assert scene.taker.next_wake_ms == scene.now_ms + 300
    assert scene.after(299) == []
    assert scene.after(1) == [CancelReply(1, CancelReason.SPEECH)]
    scene.stop_speaking()
    assert scene.final("wait") == [committed(2, 1, "wait"), StartReply(2, 2)]


def test_speech_shorter_than_the_minimum_is_ignored_with_its_transcript() -> None:
    scene = Scene(TurnPolicy(min_barge_in_ms=300))
    scene.say("hello")
    scene.hear_reply()
    scene.start_speaking()
    onset_ms = scene.now_ms
    assert scene.stop_speaking() == []
    assert scene.after(1_000) == []
    assert scene.final("yeah", onset_ms) == []
    assert scene.is_in(TurnState.REPLYING)


def test_a_pause_starts_the_minimum_anew() -> None:
    scene = Scene(TurnPolicy(min_barge_in_ms=300))
    scene.say("hello")
    scene.hear_reply()
    scene.start_speaking()
    scene.after(250)
    scene.pause()
    assert scene.after(400) == []
    scene.start_speaking()
    assert scene.after(299) == []
    assert scene.after(1) == [CancelReply(1, CancelReason.SPEECH)]


def test_short_speech_that_outlives_the_reply_is_heard() -> None:
    scene = Scene(TurnPolicy(min_barge_in_ms=1_000))
    scene.say("hello")
    scene.hear_reply()
    scene.send(events.ReplyGenerationFinished, 1, 500)
    scene.start_speaking()
    assert scene.send(events.PlaybackFinished, 1) == [FinishReply(1, FinishOutcome.COMPLETED)]
    assert scene.is_in(TurnState.HEARING)
    scene.stop_speaking()
    assert scene.final("and now") == [committed(2, 1, "and now"), StartReply(2, 2)]


def test_silence_after_speech_that_outlives_the_reply_ends_it() -> None:
    scene = Scene(TurnPolicy(min_barge_in_ms=1_000))
    scene.say("hello")
    scene.hear_reply()
    scene.send(events.ReplyGenerationFinished, 1, 500)
    scene.start_speaking()
    scene.pause()
    scene.send(events.PlaybackFinished, 1)
    assert scene.after(scene.policy.end_silence_max_ms) == [FlushRecognition()]


def test_without_barge_in_speech_during_a_reply_is_ignored() -> None:
    scene = Scene(HALF_DUPLEX)
    scene.say("hello")
    scene.hear_reply()
    scene.start_speaking()
    onset_ms = scene.now_ms
    assert scene.after(3_000) == []
    assert scene.stop_speaking() == []
    assert scene.final("stop", onset_ms) == []
    assert scene.is_in(TurnState.REPLYING)


def test_without_barge_in_speech_that_outlives_the_reply_is_discarded_up_to_its_end() -> None:
    scene = Scene(HALF_DUPLEX)
    scene.say("hello")
    scene.hear_reply()
    scene.send(events.ReplyGenerationFinished, 1, 500)
    scene.start_speaking()
    onset_ms = scene.now_ms
    finished = scene.send(events.PlaybackFinished, 1)
    assert finished == [FinishReply(1, FinishOutcome.COMPLETED), DiscardRecognition()]
    assert scene.is_in(TurnState.LISTENING)
    assert scene.final("stop", onset_ms) == []
    assert scene.say("hello again") == [committed(2, 1, "hello again"), StartReply(2, 2)]


@pytest.mark.parametrize("policy", [TurnPolicy(), HALF_DUPLEX])
def test_speaking_on_before_the_reply_is_heard_makes_a_second_revision(policy: TurnPolicy) -> None:
    scene = Scene(policy)
    scene.say("book a table")
    assert scene.start_speaking() == [PauseReply(1)]
    assert scene.is_in(TurnState.HELD_BACK)
    scene.stop_speaking()
    assert scene.final("for two") == [
        CancelReply(1, CancelReason.SUPERSEDED),
        committed(1, 2, "book a table for two"),
        StartReply(2, 1),
    ]


def test_a_revision_of_chinese_text_is_joined_without_a_space() -> None:
    scene = Scene()
    scene.say("我想订")
    assert committed(1, 2, "我想订两张票") in scene.say("两张票")


def test_a_cough_before_the_reply_is_heard_only_delays_it() -> None:
    scene = Scene()
    scene.say("book a table")
    assert scene.say("") == [PauseReply(1), ResumeReply(1)]
    assert scene.taker.next_wake_ms == scene.now_ms + scene.policy.turn_deadline_ms


def test_a_cough_does_not_let_the_reply_go_on_while_the_person_speaks() -> None:
    scene = Scene()
    scene.say("book a table")
    scene.start_speaking()
    scene.stop_speaking()
    scene.start_speaking()
    assert scene.final("") == []
    scene.stop_speaking()
    assert scene.final("") == [ResumeReply(1)]


def test_every_transcript_that_is_due_is_awaited() -> None:
    scene = Scene()
    scene.start_speaking()
    scene.stop_speaking()
    scene.start_speaking()
    scene.stop_speaking()
    assert scene.final("") == []
    assert scene.is_in(TurnState.TRANSCRIBING)
    assert scene.final("hello") == [committed(1, 1, "hello"), StartReply(1, 1)]


def test_the_same_transcript_twice_is_one_turn() -> None:
    taker = TurnTaker(TurnPolicy())
    taker.handle(events.SpeechStarted(0, 0))
    taker.handle(events.SpeechEnded(1_000, 900))
    assert len(taker.handle(events.TranscriptFinal(1_100, "hello", "en", 0, 900))) == 2
    assert taker.handle(events.TranscriptFinal(1_200, "hello", "en", 0, 900)) == []


def test_a_reply_held_back_does_not_time_out_while_the_person_speaks() -> None:
    scene = Scene()
    scene.say("book a table")
    scene.start_speaking()
    assert scene.after(60_000) == []
    assert scene.is_in(TurnState.HELD_BACK)


def test_a_transcript_that_comes_while_the_person_speaks_again_is_answered_with_a_paused_reply() -> None:
    scene = Scene()
    scene.start_speaking()
    scene.stop_speaking()
    scene.start_speaking()
    assert scene.final("book a table") == [
        committed(1, 1, "book a table"),
        StartReply(1, 1),
        PauseReply(1),
    ]
    scene.stop_speaking()
    assert scene.final("for two")[1:] == [committed(1, 2, "book a table for two"), StartReply(2, 1)]


def test_a_turn_is_not_revised_beyond_its_longest_text() -> None:
    scene = Scene(TurnPolicy(turn_text_max_characters=100))
    scene.say("a" * 60)
    superseding = scene.say("b" * 60)
    assert superseding == [
        PauseReply(1),
        CancelReply(1, CancelReason.SUPERSEDED),
        committed(2, 1, "b" * 60),
        StartReply(2, 2),
    ]


def test_speech_after_a_reply_was_heard_is_a_new_turn() -> None:
    scene = Scene()
    scene.say("hello")
    scene.hear_reply()
    scene.send(events.ReplyGenerationFinished, 1, 10)
    scene.send(events.PlaybackFinished, 1)
    assert scene.say("bye") == [committed(2, 1, "bye"), StartReply(2, 2)]


def test_conversation_ended_cancels_everything_and_is_the_last_word() -> None:
    scene = Scene()
    scene.say("hello")
    scene.start_speaking()
    ended = scene.send(events.ConversationEnded)
    assert ended == [CancelReply(1, CancelReason.CONVERSATION_ENDED), DiscardRecognition()]
    assert scene.is_in(TurnState.ENDED)
    assert scene.taker.next_wake_ms is None
    assert scene.say("still there?") == []
    assert scene.after(1_000_000) == []


def test_events_of_an_older_reply_change_nothing() -> None:
    scene = Scene()
    scene.say("hello")
    scene.send(events.TextReceived, "no")
    for kind, fields in [
        (events.ReplyTextStarted, (1,)),
        (events.ReplyAudioStarted, (1,)),
        (events.ReplyProgressed, (1,)),
        (events.PlaybackReported, (1, 5)),
        (events.ReplyGenerationFinished, (1, 5)),
        (events.PlaybackFinished, (1,)),
        (events.ReplyFailed, (1, "UNAVAILABLE")),
    ]:
        assert scene.send(kind, *fields) == []
        assert scene.is_in(TurnState.PREPARING)


def test_every_kind_of_event_is_taken_in() -> None:
    fields = {
        "offset_ms": 1,
        "text": "a",
        "reason": "X",
        "reply_id": 9,
        "total_duration_ms": 1,
        "played_ms": 1,
    }
    bases = (events.Event, events.ReplyEvent)
    kinds = [
        kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)
    ]
    assert len(kinds) > 20
    for kind in kinds:
        if kind not in bases:
            given = {name: fields[name] for name in kind.__dataclass_fields__ if name in fields}
            assert isinstance(TurnTaker(TurnPolicy()).handle(kind(at_ms=1, **given)), list)
