"""Whose turn it is. The session feeds `TurnTaker` with events and carries out the actions that it answers.

Two things go on side by side: hearing the person (`Hearing`) and at most one reply (`ReplyProgress`).

    state         hearing                         reply
    LISTENING     silent                          none
    HEARING       speaking, or pressed            none
    TRANSCRIBING  silent, final transcript due    none
    PREPARING     silent (text-only: any)         begun, nothing perceptible yet
    HELD_BACK     speaking, or final due          begun, nothing perceptible yet, paused
    REPLYING      any                             perceptible, still being made
    PLAYING_OUT   any                             made, still being played
    ENDED         -                               -

Rules, in the order of a conversation (perceptible = heard, or in a text-only conversation read):

1. A final transcript with a letter or digit in it is committed as a turn and its reply started, at once. An
   empty one changes nothing: who coughs is not answered. After push-to-talk it is the error NO_SPEECH, if
   nothing else was said.
2. Who goes on speaking before the reply is perceptible has not finished: the reply is paused unheard. More
   words supersede it and revise the turn, the texts joined; no words resume it. This holds whatever
   `barge_in` says. A reply that begins while the person speaks begins paused. Text-only replies are not
   paused.
3. Speech over a perceptible reply cancels it once it has lasted `min_barge_in_ms`, and is heard as a new
   turn; shorter speech, and with `barge_in` OFF all of it, is ignored. If the reply ends meanwhile, ON_ONSET
   goes on hearing that speech; OFF discards it, so that only what is said from then on counts.
4. Typed text wins: it cancels a reply, discards what is being said, and is a new turn.
5. Push-to-talk pressed cancels a reply and discards what the microphone caught before, unless the transcript
   of the press before is still due: then both make one turn. Released, it lets the recogniser finish. Under
   PUSH_TO_TALK speech by itself means nothing, under AUTOMATIC the button.
6. `interrupt` cancels a reply. A greeting starts only while listening.
7. A reply is COMPLETED when all of it was played, by report or by the clock; in a text-only conversation when
   it is written. Over with nothing to perceive it is FAILED, as REPLY_EMPTY.
8. A failure ends what failed with a typed error, and the session goes on listening. Every wait has a
   deadline: utterance_max_ms and end_silence_max_ms (the recogniser must finish), final_deadline_ms
   (RECOGNITION_TIMEOUT), turn_deadline_ms (REPLY_TIMEOUT), reply_stall_ms (REPLY_STALLED), the reply's length
   and playback_margin_ms.
9. Only TimeAdvanced lets a deadline pass. Events of any reply but the current one, and everything after
   ConversationEnded, change nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

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
from parley_gateway.turns.hearing import Hearing
from parley_gateway.turns.policy import BargeIn, TurnDetection, TurnPolicy
from parley_gateway.turns.reply_progress import ReplyEnd, ReplyProgress
from parley_gateway.turns.text_joining import join_texts


class TurnState(StrEnum):
    """Where the conversation stands; see the table in the module's docstring."""

    LISTENING = "LISTENING"
    HEARING = "HEARING"
    TRANSCRIBING = "TRANSCRIBING"
    PREPARING = "PREPARING"
    HELD_BACK = "HELD_BACK"
    REPLYING = "REPLYING"
    PLAYING_OUT = "PLAYING_OUT"
    ENDED = "ENDED"


class TurnTaker:
    """Decides whose turn it is in one conversation. Deterministic: the same events give the same actions."""

    def __init__(self, policy: TurnPolicy, *, first_turn_id: int = 1, first_reply_id: int = 1) -> None:
        self._policy = policy
        self._is_automatic = policy.detection is TurnDetection.AUTOMATIC
        self._next_turn_id = first_turn_id
        self._next_reply_id = first_reply_id
        self._now_ms = 0
        self._has_ended = False
        self._hearing = Hearing(policy)
        self._reply: ReplyProgress | None = None
        self._turn: CommitTurn | None = None
        # Speech over a perceptible reply that has not taken the turn; since when it sounds, None while it
        # pauses.
        self._is_spoken_over = False
        self._sounding_since_ms: int | None = None
        self._was_idle = False
        self._no_speech_at_ms: int | None = None
        self._watch_silence()
        self._reactions: dict[type[events.Event], Callable[..., list[Action]]] = {
            events.SpeechStarted: self._speech_started,
            events.SpeechPaused: self._speech_paused,
            events.SpeechEnded: self._speech_ended,
            events.TranscriptPartial: self._nothing,
            events.TranscriptFinal: self._transcript_final,
            events.RecognitionFailed: self._recognition_failed,
            events.InputAudioStopped: self._input_audio_stopped,
            events.TextReceived: self._text_received,
            events.TurnStartRequested: self._turn_start_requested,
            events.TurnEndRequested: self._turn_end_requested,
            events.InterruptRequested: self._interrupt_requested,
            events.GreetingRequested: self._greeting_requested,
            events.ConversationEnded: self._conversation_ended,
            events.TimeAdvanced: self._time_advanced,
        }

    @property
    def state(self) -> TurnState:
        """Where the conversation stands."""
        reply = self._reply
        if self._has_ended:
            return TurnState.ENDED
        if reply is not None and reply.is_perceptible:
            return TurnState.PLAYING_OUT if reply.is_made else TurnState.REPLYING
        if reply is not None:
            return TurnState.HELD_BACK if reply.is_paused else TurnState.PREPARING
        if self._hearing.is_speaking:
            return TurnState.HEARING
        return TurnState.TRANSCRIBING if self._hearing.is_awaiting_final else TurnState.LISTENING

    @property
    def next_wake_ms(self) -> int | None:
        """When TimeAdvanced is due at the latest, on the session's clock; None: nothing to wait for."""
        deadlines = (
            self._barge_in_at_ms,
            self._hearing.flush_at_ms,
            self._hearing.final_at_ms,
            self._reply.deadline_ms if self._reply is not None else None,
            self._no_speech_at_ms,
        )
        due = [deadline for deadline in deadlines if deadline is not None]
        return min(due) if due and not self._has_ended else None

    def handle(self, event: events.Event) -> list[Action]:
        """Take in what happened and return what to do, in order.

        An `at_ms` before that of an earlier event counts as that one. Raises KeyError for an unknown event.
        """
        if self._has_ended:
            return []
        self._now_ms = max(self._now_ms, event.at_ms)
        if isinstance(event, events.ReplyEvent):
            actions = self._reply_event(event)
        else:
            actions = self._reactions[type(event)](event)
        self._watch_silence()
        return actions

    # Hearing.

    def _speech_started(self, event: events.SpeechStarted) -> list[Action]:
        self._hearing.note_offset(event.offset_ms)
        if not self._is_automatic:
            return []
        if self._reply is not None and self._reply.is_perceptible and not self._hearing.is_speaking:
            self._is_spoken_over = True
            self._sounding_since_ms = self._now_ms
            return self._barge_in()
        self._hearing.start(self._now_ms)
        return self._hold_reply_back()

    def _speech_paused(self, event: events.SpeechPaused) -> list[Action]:
        self._hearing.note_offset(event.offset_ms)
        self._sounding_since_ms = None
        if self._is_automatic:
            self._hearing.pause(self._now_ms)
        return []

    def _speech_ended(self, event: events.SpeechEnded) -> list[Action]:
        self._hearing.note_offset(event.offset_ms, is_end=True)
        if self._is_spoken_over:
            self._is_spoken_over = False
            self._hearing.ignore()
        elif self._hearing.is_speaking and self._is_automatic:
            self._hearing.end(self._now_ms)
        elif self._hearing.is_speaking:
            self._hearing.cut(self._now_ms)
        return []

    def _input_audio_stopped(self, _: events.InputAudioStopped) -> list[Action]:
        self._sounding_since_ms = None
        return self._flush() if self._is_automatic and self._hearing.is_speaking else []

    def _transcript_final(self, event: events.TranscriptFinal) -> list[Action]:
        text = event.text.strip()
        has_words = any(character.isalnum() for character in text)
        if not self._hearing.take_final(event.start_offset_ms if has_words else None):
            return []
        if has_words:
            return self._commit_speech(text, event)
        if not self._is_automatic and self._reply is None and not self._hearing.is_busy:
            return [ReportError(ErrorReason.NO_SPEECH)]
        return self._let_reply_go_on()

    def _recognition_failed(self, event: events.RecognitionFailed) -> list[Action]:
        self._is_spoken_over = False
        self._hearing.lose()
        return [ReportError(event.reason), *self._let_reply_go_on()]

    def _flush(self) -> list[Action]:
        self._hearing.end(self._now_ms)
        return [FlushRecognition()]

    def _discard_speech(self) -> list[Action]:
        if not self._hearing.is_busy:
            return []
        self._hearing.drop()
        return [DiscardRecognition()]

    # What the person asks for.

    def _text_received(self, event: events.TextReceived) -> list[Action]:
        text = event.text.strip()
        if not text:
            return []
        actions = [*self._cancel_reply(CancelReason.TEXT), *self._discard_speech()]
        return [*actions, *self._commit(self._new_turn(text, None))]

    def _turn_start_requested(self, _: events.TurnStartRequested) -> list[Action]:
        if self._is_automatic or self._hearing.is_speaking:
            return []
        actions = self._cancel_reply(CancelReason.PUSH_TO_TALK)
        if not self._hearing.is_awaiting_final:
            self._hearing.drop()
            actions.append(DiscardRecognition())
        self._hearing.start(self._now_ms)
        return actions

    def _turn_end_requested(self, _: events.TurnEndRequested) -> list[Action]:
        return self._flush() if not self._is_automatic and self._hearing.is_speaking else []

    def _interrupt_requested(self, _: events.InterruptRequested) -> list[Action]:
        return self._cancel_reply(CancelReason.REQUEST)

    def _greeting_requested(self, _: events.GreetingRequested) -> list[Action]:
        return self._start_reply(None) if self._is_idle else []

    def _conversation_ended(self, _: events.ConversationEnded) -> list[Action]:
        actions = [*self._cancel_reply(CancelReason.CONVERSATION_ENDED), *self._discard_speech()]
        self._has_ended = True
        return actions

    # Turns.

    def _commit_speech(self, text: str, event: events.TranscriptFinal) -> list[Action]:
        is_unheard = self._reply is not None and not self._reply.is_perceptible
        turn = self._new_turn(text, event)
        revised = self._revised(turn) if is_unheard else None
        actions = self._cancel_reply(CancelReason.SUPERSEDED if is_unheard else CancelReason.SPEECH)
        return [*actions, *self._commit(revised or turn)]

    def _new_turn(self, text: str, event: events.TranscriptFinal | None) -> CommitTurn:
        if event is None:
            return CommitTurn(self._next_turn_id, 1, text, "", None, None, is_typed=True)
        offsets_ms = (event.start_offset_ms, event.end_offset_ms)
        return CommitTurn(self._next_turn_id, 1, text, event.language, *offsets_ms, is_typed=False)

    def _revised(self, more: CommitTurn) -> CommitTurn | None:
        """The turn that the current reply answers, and `more`, as one; None where they cannot be one."""
        turn = self._turn
        if turn is None or self._reply is None or self._reply.turn_id != turn.turn_id:
            return None
        text = join_texts(turn.text, more.text)
        if len(text) > self._policy.turn_text_max_characters:
            return None
        return replace(
            turn,
            revision=turn.revision + 1,
            text=text,
            language=more.language,
            end_offset_ms=more.end_offset_ms,
            is_typed=False,
        )

    def _commit(self, turn: CommitTurn) -> list[Action]:
        self._turn = turn
        self._next_turn_id = max(self._next_turn_id, turn.turn_id + 1)
        return [turn, *self._start_reply(turn.turn_id)]

    # Replies.

    def _start_reply(self, turn_id: int | None) -> list[Action]:
        self._reply = ReplyProgress(self._policy, self._next_reply_id, turn_id, self._now_ms)
        self._next_reply_id += 1
        actions: list[Action] = [StartReply(self._reply.reply_id, turn_id)]
        return [*actions, *self._hold_reply_back()] if self._hearing.is_busy else actions

    def _hold_reply_back(self) -> list[Action]:
        reply = self._reply
        if reply is None or reply.is_paused or reply.is_perceptible or not self._policy.speaks:
            return []
        reply.is_paused = True
        return [PauseReply(reply.reply_id)]

    def _let_reply_go_on(self) -> list[Action]:
        reply = self._reply
        if reply is None or not reply.is_paused or self._hearing.is_busy:
            return []
        reply.resume(self._now_ms)
        return [ResumeReply(reply.reply_id)]

    def _barge_in(self) -> list[Action]:
        barge_in_at_ms = self._barge_in_at_ms
        if barge_in_at_ms is None or barge_in_at_ms > self._now_ms:
            return []
        return self._cancel_reply(CancelReason.SPEECH)

    def _cancel_reply(self, reason: CancelReason) -> list[Action]:
        return self._end_reply(CancelReply(self._reply.reply_id, reason)) if self._reply is not None else []

    def _finish_reply(self, reply: ReplyProgress, end: ReplyEnd) -> list[Action]:
        if end.failure is None:
            return self._end_reply(FinishReply(reply.reply_id, FinishOutcome.COMPLETED))
        actions = self._end_reply(FinishReply(reply.reply_id, FinishOutcome.FAILED))
        return [*actions, ReportError(end.failure, reply.turn_id, reply.reply_id)]

    def _end_reply(self, ending: CancelReply | FinishReply) -> list[Action]:
        self._reply = None
        actions: list[Action] = [ending]
        if not self._is_spoken_over:
            return actions
        self._is_spoken_over = False
        if self._policy.barge_in is BargeIn.OFF:
            self._hearing.drop()
            return [*actions, DiscardRecognition()]
        self._hearing.start(self._now_ms)
        if self._sounding_since_ms is None:
            self._hearing.pause(self._now_ms)
        return actions

    def _reply_event(self, event: events.ReplyEvent) -> list[Action]:
        reply = self._reply
        if reply is None or reply.reply_id != event.reply_id:
            return []
        end = reply.take_in(event, self._now_ms)
        return self._finish_reply(reply, end) if end is not None else []

    # Time.

    def _time_advanced(self, _: events.TimeAdvanced) -> list[Action]:
        actions = self._barge_in()
        if self._is_due(self._hearing.flush_at_ms):
            actions += self._flush()
        if self._is_due(self._hearing.final_at_ms):
            actions += self._give_up_finals()
        reply = self._reply
        if reply is not None and self._is_due(reply.deadline_ms):
            actions += self._finish_reply(reply, reply.end_at_deadline())
        if self._is_due(self._no_speech_at_ms):
            self._no_speech_at_ms = None
            actions.append(ReportError(ErrorReason.NO_SPEECH))
        return actions

    def _give_up_finals(self) -> list[Action]:
        self._hearing.give_up_finals()
        actions: list[Action] = [] if self._hearing.is_speaking else [DiscardRecognition()]
        return [*actions, ReportError(ErrorReason.RECOGNITION_TIMEOUT), *self._let_reply_go_on()]

    def _is_due(self, deadline_ms: int | None) -> bool:
        return deadline_ms is not None and deadline_ms <= self._now_ms

    @property
    def _barge_in_at_ms(self) -> int | None:
        if (
            not self._is_spoken_over
            or self._sounding_since_ms is None
            or self._policy.barge_in is BargeIn.OFF
        ):
            return None
        return self._sounding_since_ms + self._policy.min_barge_in_ms

    @property
    def _is_idle(self) -> bool:
        return self._reply is None and not self._hearing.is_busy

    def _watch_silence(self) -> None:
        """Whenever listening begins, so does the wait for somebody to say something."""
        timeout_ms = self._policy.no_speech_timeout_ms
        if not self._is_idle:
            self._no_speech_at_ms = None
        elif not self._was_idle and timeout_ms and self._is_automatic:
            self._no_speech_at_ms = self._now_ms + timeout_ms
        self._was_idle = self._is_idle

    def _nothing(self, _: events.TranscriptPartial) -> list[Action]:
        return []
