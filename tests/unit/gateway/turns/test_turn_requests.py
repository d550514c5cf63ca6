"""`TurnTaker` where not only speech goes to and fro: push-to-talk, typed text, interrupt, greeting, text-only."""

from itertools import count

import pytest

from parley_gateway.turns import events
from parley_gateway.turns.actions import (
    Action,
    CancelReason,
    CancelReply,
    CommitTurn,
    DiscardRecognition,
    ErrorReason,
    FinishOutcome,
    FinishReply,
    FlushRecognition,
    PauseReply,
    ReportError,
    ResumeReply,
    StartReply,
)
from parley_gateway.turns.policy import TurnDetection, TurnPolicy
from parley_gateway.turns.turn_taker import TurnState, TurnTaker

AUTOMATIC = TurnPolicy()
PUSH_TO_TALK = TurnPolicy(detection=TurnDetection.PUSH_TO_TALK)
TEXT_ONLY = TurnPolicy(speaks=False)


class Person:
    """Somebody who acts every ten milliseconds."""

    def __init__(self, policy: TurnPolicy) -> None:
        self.taker = TurnTaker(policy)
        self._clock_ms = count(10, 10)

    def does(self, kind: type[events.Event], *fields: object) -> list[Action]:
        return self.taker.handle(kind(next(self._clock_ms), *fields))

    def types(self, text: str) -> list[Action]:
        return self.does(events.TextReceived, text)

    def presses(self) -> list[Action]:
        return self.does(events.TurnStartRequested)

    def releases(self) -> list[Action]:
        return self.does(events.TurnEndRequested)

    def is_understood(self, text: str, start_offset_ms: int | None = None) -> list[Action]:
        return self.does(events.TranscriptFinal, text, "en", start_offset_ms)


def spoken(turn_id: int, revision: int, text: str) -> CommitTurn:
    return CommitTurn(turn_id, revision, text, "en", None, None, is_typed=False)


def typed(turn_id: int, text: str) -> CommitTurn:
    return CommitTurn(turn_id, 1, text, "", None, None, is_typed=True)


def test_interrupt_cancels_the_reply() -> None:
    person = Person(AUTOMATIC)
    assert person.does(events.InterruptRequested) == []
    person.types("hello")
    assert person.does(events.InterruptRequested) == [CancelReply(1, CancelReason.REQUEST)]
    assert person.taker.state is TurnState.LISTENING


def test_typed_text_is_a_turn_even_without_a_word() -> None:
    person = Person(AUTOMATIC)
    assert person.types(" 👍? ") == [typed(1, "👍?"), StartReply(1, 1)]


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_blank_typed_text_is_no_turn(text: str) -> None:
    assert Person(AUTOMATIC).types(text) == []


def test_typed_text_during_a_reply_interrupts_it() -> None:
    person = Person(AUTOMATIC)
    person.types("hello")
    person.does(events.ReplyAudioStarted, 1)
    assert person.types("what?") == [
        CancelReply(1, CancelReason.TEXT),
        typed(2, "what?"),
        StartReply(2, 2),
    ]


def test_typed_text_wins_over_what_is_being_said() -> None:
    person = Person(AUTOMATIC)
    person.does(events.SpeechStarted, 500)
    assert person.types("hi") == [DiscardRecognition(), typed(1, "hi"), StartReply(1, 1)]
    assert person.does(events.SpeechEnded, 900) == []
    assert person.is_understood("never mind", 500) == []
    assert person.taker.state is TurnState.PREPARING


def test_typed_text_voids_a_transcript_that_is_due() -> None:
    person = Person(AUTOMATIC)
    person.does(events.SpeechStarted, 500)
    person.does(events.SpeechEnded, 900)
    assert person.types("hi") == [DiscardRecognition(), typed(1, "hi"), StartReply(1, 1)]
    assert person.is_understood("never mind", 500) == []


def test_typed_text_lets_go_of_the_button() -> None:
    person = Person(PUSH_TO_TALK)
    person.presses()
    person.types("hi")
    assert person.releases() == []
    assert person.taker.state is TurnState.PREPARING


def test_a_greeting_starts_only_while_listening() -> None:
    person = Person(AUTOMATIC)
    assert person.does(events.GreetingRequested) == [StartReply(1, None)]
    assert person.does(events.GreetingRequested) == []
    speaker = Person(AUTOMATIC)
    speaker.does(events.SpeechStarted, 0)
    assert speaker.does(events.GreetingRequested) == []


def test_speech_before_a_greeting_is_heard_supersedes_it_with_a_new_turn() -> None:
    person = Person(AUTOMATIC)
    person.does(events.GreetingRequested)
    assert person.does(events.SpeechStarted, 500) == [PauseReply(1)]
    person.does(events.SpeechEnded, 900)
    assert person.is_understood("hello") == [
        CancelReply(1, CancelReason.SUPERSEDED),
        spoken(1, 1, "hello"),
        StartReply(2, 1),
    ]


def test_push_to_talk_is_flushed_at_release_and_answered() -> None:
    person = Person(PUSH_TO_TALK)
    assert person.presses() == [DiscardRecognition()]
    assert person.taker.state is TurnState.HEARING
    assert person.releases() == [FlushRecognition()]
    assert person.does(events.SpeechEnded, 900) == []
    assert person.is_understood("hello") == [spoken(1, 1, "hello"), StartReply(1, 1)]


def test_push_to_talk_pressed_interrupts_a_reply() -> None:
    person = Person(PUSH_TO_TALK)
    person.types("hello")
    person.does(events.ReplyAudioStarted, 1)
    assert person.presses() == [CancelReply(1, CancelReason.PUSH_TO_TALK), DiscardRecognition()]


def test_pressing_twice_is_pressing_once() -> None:
    person = Person(PUSH_TO_TALK)
    person.presses()
    assert person.presses() == []
    assert person.releases() == [FlushRecognition()]
    assert person.releases() == []


def test_push_to_talk_with_nothing_said_is_a_typed_error() -> None:
    person = Person(PUSH_TO_TALK)
    person.presses()
    person.releases()
    assert person.is_understood("") == [ReportError(ErrorReason.NO_SPEECH)]
    assert person.taker.state is TurnState.LISTENING


def test_push_to_talk_pressed_again_before_the_transcript_continues_the_turn() -> None:
    person = Person(PUSH_TO_TALK)
    person.presses()
    person.releases()
    assert person.presses() == []
    assert person.is_understood("book a table") == [
        spoken(1, 1, "book a table"),
        StartReply(1, 1),
        PauseReply(1),
    ]
    person.releases()
    assert person.is_understood("for two") == [
        CancelReply(1, CancelReason.SUPERSEDED),
        spoken(1, 2, "book a table for two"),
        StartReply(2, 1),
    ]


def test_an_empty_transcript_is_no_error_while_the_button_is_pressed_again() -> None:
    person = Person(PUSH_TO_TALK)
    person.presses()
    person.releases()
    person.presses()
    assert person.is_understood("") == []
    person.releases()
    assert person.is_understood("") == [ReportError(ErrorReason.NO_SPEECH)]


def test_an_utterance_cut_by_the_recogniser_while_pressed_is_part_of_the_turn() -> None:
    person = Person(PUSH_TO_TALK)
    person.presses()
    person.does(events.SpeechEnded, 900)
    assert person.is_understood("once upon a time") == [
        spoken(1, 1, "once upon a time"),
        StartReply(1, 1),
        PauseReply(1),
    ]
    person.releases()
    assert person.is_understood("") == [ResumeReply(1)]


def test_speech_without_the_button_means_nothing_under_push_to_talk() -> None:
    person = Person(PUSH_TO_TALK)
    assert person.does(events.SpeechStarted, 500) == []
    assert person.does(events.SpeechEnded, 900) == []
    assert person.is_understood("hello", 500) == []
    assert person.taker.state is TurnState.LISTENING


def test_the_button_means_nothing_under_automatic_detection() -> None:
    person = Person(AUTOMATIC)
    person.types("hello")
    person.does(events.ReplyAudioStarted, 1)
    assert person.presses() == []
    assert person.releases() == []


def test_a_text_only_reply_is_completed_when_it_is_written() -> None:
    person = Person(TEXT_ONLY)
    person.types("hello")
    assert person.does(events.ReplyTextStarted, 1) == []
    assert person.taker.state is TurnState.REPLYING
    finished = person.does(events.ReplyGenerationFinished, 1, 0)
    assert finished == [FinishReply(1, FinishOutcome.COMPLETED)]


def test_a_text_only_reply_is_not_paused() -> None:
    person = Person(TEXT_ONLY)
    person.types("book a table")
    assert person.does(events.SpeechStarted, 500) == []
    assert person.does(events.ReplyTextStarted, 1) == []
    person.does(events.SpeechEnded, 900)
    assert person.is_understood("for two") == [
        CancelReply(1, CancelReason.SPEECH),
        spoken(2, 1, "for two"),
        StartReply(2, 2),
    ]


def test_speech_begun_before_a_text_only_reply_does_not_barge_in_on_it() -> None:
    person = Person(TEXT_ONLY)
    person.types("book a table")
    person.does(events.SpeechStarted, 500)
    person.does(events.ReplyTextStarted, 1)
    person.does(events.SpeechPaused, 700)
    assert person.does(events.SpeechStarted, 800) == []
    assert person.taker.state is TurnState.REPLYING
