"""`Session`: one live conversation. Feeds the turn taker, carries out its actions, owns every task and queue.

The conversation servicer makes one per connection, has `run` run as a task of the process (so that what was heard is
recorded even when the client vanishes), calls the `take_…` methods with what the client sends and empties `outbox`.
Events reach the turn taker at once; actions are carried out one after the other.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from parley_gateway import conversation as log
from parley_gateway import faults
from parley_gateway.latency import LatencyMarks
from parley_gateway.ports import (
    Heard,
    InputSafe,
    RecognitionEvent,
    SpeechBegan,
    SpeechHalted,
    SpeechOver,
    UtteranceFailed,
)
from parley_gateway.session import outputs
from parley_gateway.session.config import SessionConfig
from parley_gateway.session.input_timeline import InputTimeline
from parley_gateway.session.journal import Journal
from parley_gateway.session.listening import Listening
from parley_gateway.session.outbox import Outbox
from parley_gateway.session.replies import Replies
from parley_gateway.session.services import SessionServices
from parley_gateway.session.turn_clock import TurnClock
from parley_gateway.session.turn_spans import TurnSpans
from parley_gateway.turns import actions, events
from parley_gateway.turns.policy import TurnDetection
from parley_gateway.turns.turn_taker import TurnState, TurnTaker
from parley_servicekit.faults import Fault, fault_in
from parley_servicekit.logs import bound_ids, get_logger

_log = get_logger()
_TEXT_MAX_BYTES = 16 * 1024
# How long the first look for the asr service may hold up the greeting of a client.
_LISTENING_KNOWN_S = 0.9
# So many actions may wait for a slow store or client before the client is no longer read from.
_ACTION_MAX_COUNT = 32
# What is safe is told so often: a message to the client costs as much as several of its frames.
_ACKNOWLEDGE_EVERY_MS = 1000.0


class Session:
    """One connection of one person. `fault` says why it broke, None while it goes on or when it ended well."""

    def __init__(
        self, session_id: str, config: SessionConfig, journal: Journal, services: SessionServices
    ) -> None:
        self.session_id = session_id
        self.outbox = Outbox()
        self.fault: Fault | None = None
        self._config = config
        self._journal = journal
        self._services = services
        self._turn_taker = TurnTaker(
            config.policy, first_turn_id=journal.next_turn_id, first_reply_id=journal.next_reply_id
        )
        self._clock = TurnClock(services.monotonic, self._turn_taker, self._feed)
        self._timeline = InputTimeline(config.listening.input_audio)
        self._listening = Listening(
            services.speech_to_text, config.listening, self._on_recognition, self._on_listening_state
        )
        self._listening_known = asyncio.Event()
        self._ids = {"session_id": session_id, "conversation_id": journal.conversation.conversation_id}
        now_ms, arrived_at_ms = self._clock.now_ms, self._timeline.arrived_at_ms
        self._spans = TurnSpans(services.traces, now_ms, arrived_at_ms, self._listening, self._ids, config)
        self._replies = Replies(services, self.outbox, now_ms, self._feed, self._store, self._spans)
        self._events: deque[events.Event] = deque()
        self._is_feeding = False
        self._actions: asyncio.Queue[actions.Action | None] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._is_pressed = False
        self._acknowledged_ms = 0.0
        self._speech_end_at_ms: float | None = None
        self._utterance_end_at_ms: float | None = None
        self._known_faults: dict[str, Fault] = {}
        self._committed_turn_id = journal.next_turn_id - 1
        self._turn_to_store: log.TurnCommitted | None = None
        self._is_draining = False

    # What the client sends.

    async def wait_for_room(self) -> None:
        """Until little enough waits to be carried out; to be awaited before anything is taken from the client."""
        while self._actions.qsize() >= _ACTION_MAX_COUNT:
            self._has_room.clear()
            await self._has_room.wait()

    async def take_audio(self, packets: Sequence[bytes], start_offset_ms: float | None) -> None:
        """Input audio in the config's format. Raises Fault INVALID_AUDIO; the session goes on."""
        audio = self._timeline.take(packets, start_offset_ms, self._clock.now_ms())
        self._clock.audio_came()
        if self._is_push_to_talk and not self._is_pressed:
            await self._acknowledge(self._timeline.end_offset_ms)
            return
        await self._listening.hear(audio)

    def take_text(self, text: str) -> None:
        """A typed turn. Raises Fault TEXT_EMPTY or TEXT_TOO_LONG; the session goes on."""
        if len(text.encode()) > _TEXT_MAX_BYTES:
            raise Fault.caller("TEXT_TOO_LONG", "a typed turn holds at most 16 KiB", field="text")
        if not text.strip():
            raise Fault.caller("TEXT_EMPTY", "a typed turn needs some text", field="text")
        self._speech_end_at_ms = self._utterance_end_at_ms = None
        self._feed(events.TextReceived(self._clock.now(), text))

    def take_start_of_turn(self) -> None:
        """Push-to-talk pressed. Raises Fault NOT_PUSH_TO_TALK; the session goes on."""
        self._check_push_to_talk("start_of_turn")
        self._feed(events.TurnStartRequested(self._clock.now()))
        self._is_pressed = True

    def take_end_of_turn(self) -> None:
        """Push-to-talk released. Raises Fault NOT_PUSH_TO_TALK; the session goes on."""
        self._check_push_to_talk("end_of_turn")
        self._is_pressed = False
        self._feed(events.TurnEndRequested(self._clock.now()))

    def take_interrupt(self) -> None:
        """Stop the reply."""
        self._feed(events.InterruptRequested(self._clock.now()))

    def take_playback(self, reply_id: int, played_ms: float, underrun_count: int = 0) -> None:
        """So much of a reply has been played. Reports about other than the current reply change nothing."""
        played_ms = self._replies.reported(reply_id, played_ms, underrun_count)
        self._feed(events.PlaybackReported(self._clock.now(), reply_id, round(played_ms)))

    def take_config(self, config: SessionConfig) -> None:
        """What holds from the next turn on."""
        self._config = config

    def _check_push_to_talk(self, field: str) -> None:
        if not self._is_push_to_talk:
            raise Fault.caller(
                "NOT_PUSH_TO_TALK", f"{field} needs turn_taking.detection PUSH_TO_TALK", field=field
            )

    @property
    def _is_push_to_talk(self) -> bool:
        return self._config.policy.detection is TurnDetection.PUSH_TO_TALK

    @property
    def config(self) -> SessionConfig:
        """What is in force."""
        return self._config

    def drain(self, grace_ms: int) -> None:
        """Tell the client that the gateway goes away, and end as soon as no reply is under way."""
        deadline = datetime.now(UTC) + timedelta(milliseconds=grace_ms)
        self.outbox.put_now(outputs.DrainingOutput(deadline))
        self._is_draining = True
        self._end_if_drained()

    def end(self) -> None:
        """The person left, or the connection is gone."""
        self._feed(events.ConversationEnded(self._clock.now()))
        self._actions.put_nowait(None)

    # The life of the session.

    async def run(self) -> None:
        """Until `end`. Never raises but for cancellation; `fault` tells what went wrong, and the outbox is closed."""
        with bound_ids(**self._ids):
            try:
                await self._run()
            except Exception as error:
                self.fault = fault_in(error)
                if self.fault is None:
                    _log.error("session.failed_unexpectedly", exc_info=error)
                    self.fault = Fault.internal()
            finally:
                self.outbox.close()

    async def _run(self) -> None:
        await self._store(log.SessionOpened(self.session_id, datetime.now(UTC)))
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(self._listening.run(), name="session.listening"),
                tasks.create_task(self._clock.run(), name="session.clock"),
            ]
            await self._greet()
            try:
                await self._carry_out_all(tasks)
            finally:
                for task in background:
                    task.cancel()
                await self._replies.abandon()

    async def _greet(self) -> None:
        """`Ready` comes when it is known whether recognition works, so that no first word is lost."""
        try:
            async with asyncio.timeout(_LISTENING_KNOWN_S):
                await self._listening_known.wait()
        except TimeoutError:
            pass  # the asr service hangs; Listening reports it as soon as it is sure
        ready = outputs.Ready(
            self._journal.conversation.conversation_id, self.session_id, self._journal.turn_count
        )
        self.outbox.open(ready)

    async def _carry_out_all(self, tasks: asyncio.TaskGroup) -> None:
        while (action := await self._actions.get()) is not None:
            self._has_room.set()
            await self._carry_out(action, tasks)
            self._end_if_drained()

    def _end_if_drained(self) -> None:
        is_idle = self._turn_taker.state is TurnState.LISTENING and self._actions.empty()
        if self._is_draining and is_idle and not self._is_feeding:
            self.fault = Fault.unavailable("DRAINING", "the gateway goes away; reconnect and continue")
            self.end()

    # Events in, actions out.

    def _feed(self, event: events.Event) -> None:
        """Let the turn taker react. An event that comes of carrying out another one waits for that."""
        self._events.append(event)
        if self._is_feeding:
            return
        self._is_feeding = True
        try:
            while self._events:
                event = self._events.popleft()
                for action in self._spans.watch(event, self._turn_taker.handle(event)):
                    self._do_at_once(action)
                    self._actions.put_nowait(action)
        finally:
            self._is_feeding = False
        self._clock.reschedule()
        self._end_if_drained()

    def _do_at_once(self, action: actions.Action) -> None:
        """What must not wait for the store or the client: silence, pauses, and what has a place within the audio."""
        match action:
            case actions.CommitTurn():
                self._committed_turn_id = action.turn_id
            case actions.StartReply():
                self._replies.prepare(action.reply_id, self._config, self._marks_now())
            case actions.PauseReply():
                self._replies.pause(action.reply_id)
            case actions.ResumeReply():
                self._replies.resume(action.reply_id)
            case actions.CancelReply():
                self._replies.stop(action.reply_id, log.ReplyOutcome.INTERRUPTED, action.reason)
            case actions.FinishReply():
                self._replies.stop(action.reply_id, log.ReplyOutcome(action.outcome.value.lower()))
            case actions.FlushRecognition():
                self._is_pressed = False
                if not self._listening.finish_utterance():
                    self._recognition_failed(Fault.unavailable("ASR_UNAVAILABLE", "recognition is away"))
            case actions.DiscardRecognition():
                self._is_pressed = False
                self._clock.person_speaks(False)
                self._listening.discard_utterance()

    async def _carry_out(self, action: actions.Action, tasks: asyncio.TaskGroup) -> None:
        match action:
            case actions.CommitTurn():
                self._commit(action)
            case actions.StartReply():
                await self._start_reply(action, tasks)
            case actions.CancelReply() | actions.FinishReply():
                await self._replies.finish(action.reply_id)
            case actions.ReportError():
                await self._report(action)

    def _commit(self, action: actions.CommitTurn) -> None:
        """Stored and told with the reply to it, whose StartReply is the next action."""
        now = datetime.now(UTC)
        self._turn_to_store = log.TurnCommitted(
            turn_id=str(action.turn_id),
            revision=action.revision,
            text=action.text,
            source=log.TurnSource.TYPED if action.is_typed else log.TurnSource.SPOKEN,
            create_time=now,
            conversation_offset_ms=self._journal.offset_ms(now),
        )

    async def _start_reply(self, action: actions.StartReply, tasks: asyncio.TaskGroup) -> None:
        """The chat model is asked while the log is being written; nothing of the reply is told before it is."""
        turn, self._turn_to_store = self._turn_to_store, None
        turn_id = "" if action.turn_id is None else str(action.turn_id)
        now = datetime.now(UTC)
        started = log.ReplyStarted(action.reply_id, turn_id, now, self._journal.offset_ms(now))
        added = (started,) if turn is None else (turn, started)
        self._journal.remember(*added)
        self._replies.start(action.reply_id, self._journal.messages(), tasks)
        await self._make_safe(*added)
        if turn is not None:
            committed = outputs.TurnCommittedOutput(
                turn.turn_id, turn.revision, turn.text, turn.create_time, turn.conversation_offset_ms
            )
            await self.outbox.put(committed)
        await self._replies.tell(action.reply_id, turn_id)

    async def _report(self, action: actions.ReportError) -> None:
        fault = self._replies.faults.pop(action.reply_id or 0, None) or self._known_faults.get(action.reason)
        if fault is None:
            fault = faults.turn_failed(action.reason)
        await self.outbox.put(
            outputs.ErrorOutput(
                fault, turn_id=str(action.turn_id) if action.turn_id else "", reply_id=action.reply_id or 0
            )
        )

    # Recognition.

    async def _on_recognition(self, event: RecognitionEvent) -> None:
        now = self._clock.now()
        match event:
            case SpeechBegan():
                self._clock.person_speaks(True)
                await self._tell_activity("STARTED", event.offset_ms)
                self._feed(events.SpeechStarted(now, round(event.offset_ms)))
            case SpeechHalted():
                await self._tell_activity("PAUSED", event.offset_ms)
                self._feed(events.SpeechPaused(now, round(event.offset_ms)))
            case SpeechOver():
                self._clock.person_speaks(False)
                self._utterance_end_at_ms = self._clock.now_ms()
                self._speech_end_at_ms = self._timeline.arrived_at_ms(event.offset_ms)
                await self._tell_activity("ENDED", event.offset_ms)
                self._feed(events.SpeechEnded(now, round(event.offset_ms)))
            case Heard():
                await self._on_heard(event)
            case InputSafe():
                await self._acknowledge(event.offset_ms)
            case UtteranceFailed():
                self._recognition_failed(event.fault)

    async def _acknowledge(self, offset_ms: float) -> None:
        if offset_ms - self._acknowledged_ms >= _ACKNOWLEDGE_EVERY_MS:
            self._acknowledged_ms = offset_ms
            await self.outbox.put(outputs.InputAcknowledged(offset_ms))

    async def _tell_activity(self, kind: str, offset_ms: float) -> None:
        await self.outbox.put(outputs.SpeechActivity(kind, offset_ms))

    async def _on_heard(self, heard: Heard) -> None:
        # Words said before a reply is perceptible revise its turn; all others make a new one.
        is_revision = self._turn_taker.state in (TurnState.PREPARING, TurnState.HELD_BACK)
        turn_id = str(self._committed_turn_id + (0 if is_revision else 1))
        transcript = outputs.TranscriptOutput(
            turn_id, heard.text, heard.is_final, heard.stability, heard.language_code, heard.words
        )
        await self.outbox.put(transcript)
        now = self._clock.now()
        if heard.is_final:
            start_ms, end_ms = _rounded(heard.start_offset_ms), _rounded(heard.end_offset_ms)
            self._feed(events.TranscriptFinal(now, heard.text, heard.language_code, start_ms, end_ms))
        else:
            self._feed(events.TranscriptPartial(now, heard.text))

    def _recognition_failed(self, fault: Fault) -> None:
        self._known_faults[fault.reason] = fault
        self._clock.person_speaks(False)
        self._feed(events.RecognitionFailed(self._clock.now(), fault.reason))

    async def _on_listening_state(self, fault: Fault | None) -> None:
        is_first = not self._listening_known.is_set()
        self._listening_known.set()
        if fault is not None:
            await self.outbox.put(outputs.ServiceLevelOutput(1, "speech recognition is away; type instead"))
            self._recognition_failed(fault)
        elif not is_first:
            await self.outbox.put(outputs.ServiceLevelOutput(0, ""))

    def _marks_now(self) -> LatencyMarks:
        """Where the path of the turn that is being committed began. A typed turn begins when it arrives."""
        now_ms = self._clock.now_ms()
        utterance_end_at_ms = now_ms if self._utterance_end_at_ms is None else self._utterance_end_at_ms
        speech_end_at_ms = utterance_end_at_ms if self._speech_end_at_ms is None else self._speech_end_at_ms
        is_spoken = self._speech_end_at_ms is not None
        return LatencyMarks(speech_end_at_ms, utterance_end_at_ms, now_ms, is_spoken=is_spoken)

    # The log.

    async def _store(self, event: log.Event) -> None:
        """Remember and store an event."""
        self._journal.remember(event)
        await self._make_safe(event)

    async def _make_safe(self, *events: log.Event) -> None:
        """Store events. While the store takes none, they live in this session alone, and the client is told once."""
        fault = await self._journal.store(*events)
        if fault is not None:
            await self.outbox.put(outputs.ErrorOutput(fault))


def _rounded(offset_ms: float | None) -> int | None:
    return None if offset_ms is None else round(offset_ms)
