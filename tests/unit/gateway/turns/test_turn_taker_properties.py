"""What holds for `TurnTaker` whatever happens, in whatever order.

A `Referee` watches every event and the actions it brings, and knows of the turn-taker only what a session
knows. It judges a Hypothesis state machine and random traces: some thousands, or as many as the environment
variable TURN_TRACES says.
"""

import os
from collections import Counter
from itertools import pairwise
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parley_gateway.turns import actions as acts
from parley_gateway.turns import events
from parley_gateway.turns.policy import BargeIn, TurnDetection, TurnPolicy
from parley_gateway.turns.turn_taker import TurnState, TurnTaker

TRACE_COUNT = int(os.environ.get("TURN_TRACES", "4000"))
TEXTS = ("", ".", "hello", "and then", "你好")


class Referee:
    """Feeds a turn-taker and fails the test as soon as an action breaks a promise."""

    def __init__(self, policy: TurnPolicy) -> None:
        self.policy = policy
        self.taker = TurnTaker(policy)
        self.log: list[tuple[events.Event, list[acts.Action]]] = []
        self.seen: Counter[object] = Counter()
        self.now_ms = 0
        self.last_reply_id = 0
        self.open_reply: acts.StartReply | None = None
        self.is_paused = False
        self.is_perceptible = False
        self.waiting_since_ms = 0
        self.turn: acts.CommitTurn | None = None
        self.unheard_turn_id: int | None = None
        self.has_ended = False

    def feed(self, event: events.Event) -> None:
        self.now_ms = max(self.now_ms, event.at_ms)
        before = (self.taker.state, self.taker.next_wake_ms)
        was_perceptible, was_open = self.is_perceptible, self.open_reply is not None
        actions = self.taker.handle(event)
        self.log.append((event, actions))
        self.seen[self.taker.state] += 1
        is_stale = isinstance(event, events.ReplyEvent) and not self._is_of_open_reply(event)
        if self.has_ended or is_stale:
            assert actions == []
            assert (self.taker.state, self.taker.next_wake_ms) == before
            return
        if isinstance(event, self._perceptible_kind) and self._is_of_open_reply(event):
            self.is_perceptible = True
        self._judge(actions)
        if isinstance(event, events.TimeAdvanced):
            self._judge_time(actions, before[1])
        if isinstance(event, events.SpeechStarted) and was_open and was_perceptible:
            self._judge_barge_in(actions)
        if isinstance(event, events.ConversationEnded):
            assert self.open_reply is None
            self.has_ended = True

    @property
    def _perceptible_kind(self) -> type[events.Event]:
        return events.ReplyAudioStarted if self.policy.speaks else events.ReplyTextStarted

    def _is_of_open_reply(self, event: events.Event) -> bool:
        return (
            isinstance(event, events.ReplyEvent)
            and self.open_reply is not None
            and event.reply_id == self.open_reply.reply_id
        )

    def _judge(self, actions: list[acts.Action]) -> None:
        for action, following in pairwise([*actions, None]):
            assert action is not None
            self.seen[type(action)] += 1
            match action:
                case acts.CommitTurn():
                    assert isinstance(following, acts.StartReply)
                    assert following.turn_id == action.turn_id
                    self._judge_turn(action)
                case acts.StartReply():
                    assert self.open_reply is None, "two replies at once"
                    assert action.reply_id == self.last_reply_id + 1
                    self.last_reply_id = action.reply_id
                    self.open_reply, self.is_paused, self.is_perceptible = action, False, False
                    self.waiting_since_ms = self.now_ms
                    self.unheard_turn_id = None
                case acts.PauseReply():
                    self._opened(action.reply_id)
                    assert not self.is_paused
                    assert not self.is_perceptible
                    self.is_paused = True
                case acts.ResumeReply():
                    self._opened(action.reply_id)
                    assert self.is_paused
                    self.is_paused = False
                    self.waiting_since_ms = self.now_ms
                case acts.CancelReply():
                    self.seen[action.reason] += 1
                    reply = self._opened(action.reply_id)
                    if action.reason is acts.CancelReason.SUPERSEDED:
                        assert not self.is_perceptible
                        self.unheard_turn_id = reply.turn_id
                    self.open_reply = None
                case acts.FinishReply():
                    reply = self._opened(action.reply_id)
                    self._judge_finish(action, reply, actions)
                    self.open_reply = None
                case acts.ReportError():
                    assert action.reason
                    self.seen[action.reason] += 1

    def _opened(self, reply_id: int) -> acts.StartReply:
        """The open reply, which is the only one that an action may name: each ends exactly once."""
        assert self.open_reply is not None
        assert self.open_reply.reply_id == reply_id
        return self.open_reply

    def _judge_turn(self, turn: acts.CommitTurn) -> None:
        assert turn.text.strip(), "a reply to an empty text"
        assert any(character.isalnum() for character in turn.text) or turn.is_typed
        previous_id = self.turn.turn_id if self.turn is not None else 0
        if self.turn is not None and turn.turn_id == previous_id:
            assert turn.revision == self.turn.revision + 1
            assert self.unheard_turn_id == turn.turn_id, "a turn revised after its reply was heard"
            assert turn.text.startswith(self.turn.text)
        else:
            assert (turn.turn_id, turn.revision) == (previous_id + 1, 1)
        self.turn = turn

    def _judge_finish(
        self, finish: acts.FinishReply, reply: acts.StartReply, actions: list[acts.Action]
    ) -> None:
        self.seen[finish.outcome] += 1
        errors = [action for action in actions if isinstance(action, acts.ReportError)]
        is_reported = any(
            (error.turn_id, error.reply_id) == (reply.turn_id, reply.reply_id) for error in errors
        )
        if finish.outcome is acts.FinishOutcome.FAILED:
            assert is_reported, "a reply failed in silence"
        else:
            assert self.is_perceptible, "a reply that nobody perceived was completed"
            assert not is_reported

    def _judge_time(self, actions: list[acts.Action], wake_ms: int | None) -> None:
        is_due = wake_ms is not None and wake_ms <= self.now_ms
        assert is_due or actions == []
        next_wake_ms = self.taker.next_wake_ms
        assert next_wake_ms is None or next_wake_ms > self.now_ms
        if self.open_reply is not None and not self.is_perceptible and not self.is_paused:
            assert self.now_ms < self.waiting_since_ms + self.policy.turn_deadline_ms, "dead air"

    def _judge_barge_in(self, actions: list[acts.Action]) -> None:
        is_cancelled = any(isinstance(action, acts.CancelReply) for action in actions)
        if self.policy.detection is TurnDetection.PUSH_TO_TALK or self.policy.barge_in is BargeIn.OFF:
            assert not is_cancelled
        elif self.policy.speaks and self.policy.min_barge_in_ms == 0 and not self.is_paused:
            assert is_cancelled

    def let_silence_settle(self) -> None:
        """From any state, time alone leads to listening, in a bounded number of steps and a bounded time."""
        begun_ms = self.now_ms
        for _ in range(12):
            wake_ms = self.taker.next_wake_ms
            if wake_ms is None:
                break
            self.feed(events.TimeAdvanced(wake_ms))
        assert self.taker.next_wake_ms is None
        assert self.taker.state is (TurnState.ENDED if self.has_ended else TurnState.LISTENING)
        assert self.open_reply is None
        assert self.now_ms - begun_ms < 1_000_000

    def replay(self) -> None:
        """The recorded events bring the recorded actions."""
        taker = TurnTaker(self.policy)
        for event, actions in self.log:
            assert taker.handle(event) == actions


def random_policy(random: Random) -> TurnPolicy:
    return TurnPolicy(
        detection=random.choice(
            [TurnDetection.AUTOMATIC, TurnDetection.AUTOMATIC, TurnDetection.PUSH_TO_TALK]
        ),
        barge_in=random.choice([BargeIn.ON_ONSET, BargeIn.ON_ONSET, BargeIn.OFF]),
        speaks=random.random() < 0.8,
        no_speech_timeout_ms=random.choice([0, 0, 8_000]),
        min_barge_in_ms=random.choice([0, 0, 300]),
        playback_margin_ms=random.choice([0, 1_500]),
        turn_text_max_characters=random.choice([100, 8_000]),
    )


class Trace:
    """Random events: mostly what a session would feed, now and then what it never should."""

    def __init__(self, random: Random, referee: Referee) -> None:
        self.random = random
        self.referee = referee
        self.at_ms = 0
        self.speech_offset_ms = 0

    def step(self) -> None:
        random, referee = self.random, self.referee
        self.at_ms += random.choice([0, 10, 10, 100, 100, 700, 3_000])
        if random.random() < 0.15:
            wake_ms = referee.taker.next_wake_ms
            self.at_ms = max(self.at_ms, (wake_ms or 0) + random.choice([-1, 0, 0, 20_000]))
            referee.feed(events.TimeAdvanced(self.at_ms))
            return
        makers = random.choice((self._recognition, self._recognition, self._reply, self._reply, self._person))
        referee.feed(makers())

    def _recognition(self) -> events.Event:
        random, at_ms = self.random, self.at_ms
        chance = random.random()
        if chance < 0.3:
            self.speech_offset_ms = at_ms
            return events.SpeechStarted(at_ms, at_ms)
        if chance < 0.4:
            return events.SpeechPaused(at_ms, at_ms)
        if chance < 0.6:
            return events.SpeechEnded(at_ms, at_ms)
        if chance < 0.92:
            start_ms = random.choice([None, self.speech_offset_ms, self.speech_offset_ms, at_ms // 2])
            return events.TranscriptFinal(at_ms, random.choice(TEXTS), "en", start_ms, at_ms)
        if chance < 0.95:
            return events.TranscriptPartial(at_ms, "hel")
        return random.choice([events.RecognitionFailed(at_ms, "X"), events.InputAudioStopped(at_ms)])

    def _reply(self) -> events.Event:
        random, at_ms = self.random, self.at_ms
        last_id = self.referee.last_reply_id
        reply_id = last_id if random.random() < 0.9 else random.randint(0, last_id + 2)
        return random.choice(
            [
                events.ReplyTextStarted(at_ms, reply_id),
                events.ReplyTextStarted(at_ms, reply_id),
                events.ReplyAudioStarted(at_ms, reply_id),
                events.ReplyAudioStarted(at_ms, reply_id),
                events.ReplyProgressed(at_ms, reply_id),
                events.ReplyGenerationFinished(at_ms, reply_id, random.choice([0, 500, 500, 5_000, -3])),
                events.PlaybackReported(at_ms, reply_id, random.choice([0, 250, 500, 10**15, -7])),
                events.PlaybackFinished(at_ms, reply_id),
                events.ReplyFailed(at_ms, reply_id, "X"),
            ]
        )

    def _person(self) -> events.Event:
        random, at_ms = self.random, self.at_ms
        if random.random() < 0.01:
            return events.ConversationEnded(at_ms)
        return random.choice(
            [
                events.TextReceived(at_ms, random.choice(TEXTS)),
                events.TurnStartRequested(at_ms),
                events.TurnEndRequested(at_ms),
                events.InterruptRequested(at_ms),
                events.GreetingRequested(at_ms),
            ]
        )


def test_random_traces_keep_every_promise() -> None:
    seen: Counter[object] = Counter()
    for seed in range(TRACE_COUNT):
        random = Random(seed)  # Its seed names a failing trace.
        referee = Referee(random_policy(random))
        trace = Trace(random, referee)
        try:
            for _ in range(random.randint(1, 60)):
                trace.step()
            referee.let_silence_settle()
            referee.replay()
        except AssertionError as error:
            lines = "\n".join(f"{event} -> {actions}" for event, actions in referee.log)
            raise AssertionError(f"trace {seed}, {referee.policy}:\n{lines}") from error
        seen += referee.seen
    kinds = [kind for kind in acts.Action.__subclasses__() if getattr(acts, kind.__name__) is kind]
    for thing in (*kinds, *TurnState, *acts.CancelReason, *acts.FinishOutcome, *acts.ErrorReason):
        assert seen[thing] >= min(10, TRACE_COUNT // 100), f"the traces never came to {thing}"


POLICIES = st.builds(
    TurnPolicy,
    detection=st.sampled_from(TurnDetection),
    barge_in=st.sampled_from([BargeIn.OFF, BargeIn.ON_ONSET]),
    speaks=st.booleans(),
    no_speech_timeout_ms=st.sampled_from([0, 8_000]),
    min_barge_in_ms=st.sampled_from([0, 300]),
)


class ConversationMachine(RuleBasedStateMachine):
    """Events in any order that Hypothesis can think of."""

    def __init__(self) -> None:
        super().__init__()
        self.referee = Referee(TurnPolicy())
        self.at_ms = 0

    @initialize(policy=POLICIES)
    def begin(self, policy: TurnPolicy) -> None:
        self.referee = Referee(policy)

    @rule(duration_ms=st.sampled_from([1, 50, 400, 4_000]))
    def pass_time(self, duration_ms: int) -> None:
        self.at_ms += duration_ms

    @precondition(lambda self: self.referee.taker.next_wake_ms is not None)
    @rule(early_ms=st.sampled_from([0, 0, 1]))
    def wake(self, early_ms: int) -> None:
        self.at_ms = max(self.at_ms, (self.referee.taker.next_wake_ms or 0) - early_ms)
        self.referee.feed(events.TimeAdvanced(self.at_ms))

    @rule(kind=st.sampled_from([events.SpeechStarted, events.SpeechPaused, events.SpeechEnded]))
    def speak(self, kind: type[events.SpeechStarted]) -> None:
        self.referee.feed(kind(self.at_ms, self.at_ms))

    @rule(text=st.sampled_from(TEXTS), age_ms=st.one_of(st.none(), st.integers(0, 5_000)))
    def transcribe(self, text: str, age_ms: int | None) -> None:
        start_ms = None if age_ms is None else self.at_ms - age_ms
        self.referee.feed(events.TranscriptFinal(self.at_ms, text, "en", start_ms, None))

    @rule(
        kind=st.sampled_from(
            [
                events.TurnStartRequested,
                events.TurnEndRequested,
                events.InterruptRequested,
                events.GreetingRequested,
                events.InputAudioStopped,
            ]
        )
    )
    def ask(self, kind: type[events.Event]) -> None:
        self.referee.feed(kind(self.at_ms))

    @rule(text=st.sampled_from(TEXTS))
    def type_text(self, text: str) -> None:
        self.referee.feed(events.TextReceived(self.at_ms, text))

    @rule(
        kind=st.sampled_from(
            [
                events.ReplyTextStarted,
                events.ReplyAudioStarted,
                events.ReplyProgressed,
                events.PlaybackFinished,
            ]
        ),
        age=st.sampled_from([0, 0, 0, 1, -1]),
    )
    def reply_goes_on(self, kind: type[events.ReplyEvent], age: int) -> None:
        self.referee.feed(kind(self.at_ms, self.referee.last_reply_id - age))

    @rule(
        kind=st.sampled_from([events.ReplyGenerationFinished, events.PlaybackReported]),
        duration_ms=st.integers(-1, 3_000),
        age=st.sampled_from([0, 0, 0, 1, -1]),
    )
    def reply_is_measured(self, kind: type[events.PlaybackReported], duration_ms: int, age: int) -> None:
        self.referee.feed(kind(self.at_ms, self.referee.last_reply_id - age, duration_ms))

    @rule(is_reply=st.booleans())
    def fail(self, is_reply: bool) -> None:
        if is_reply:
            self.referee.feed(events.ReplyFailed(self.at_ms, self.referee.last_reply_id, "X"))
        else:
            self.referee.feed(events.RecognitionFailed(self.at_ms, "X"))

    @invariant()
    def state_agrees_with_the_actions(self) -> None:
        state = self.referee.taker.state
        has_reply = self.referee.open_reply is not None
        replying = (TurnState.PREPARING, TurnState.HELD_BACK, TurnState.REPLYING, TurnState.PLAYING_OUT)
        assert has_reply == (state in replying)

    def teardown(self) -> None:
        self.referee.let_silence_settle()
        self.referee.replay()


TestConversation = ConversationMachine.TestCase
TestConversation.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
