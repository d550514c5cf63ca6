"""`Reply`: one answer in the making: chat model into synthesis into paced audio, all at once. Run by the session."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from parley_gateway.conversation import Event, Message, PhraseSpoken, PlaybackMarked
from parley_gateway.latency import LatencyMarks
from parley_gateway.ports import (
    AnswerFinished,
    Audio,
    ChatModel,
    GenerationRequest,
    Phrase,
    PhraseFailed,
    SpeakingRequest,
    SpeechFinished,
    SynthesisStream,
    TextDelta,
    TextToSpeech,
)
from parley_gateway.session.outbox import Outbox
from parley_gateway.session.outputs import ErrorOutput, ReplyAudio, ReplyPhrase, ReplyText
from parley_gateway.session.playback import PlayoutClock
from parley_gateway.turns import events
from parley_gateway.turns.heard_text import HeardText, WordStart
from parley_gateway.turns.heard_text import Phrase as HeardPhrase
from parley_servicekit.faults import Fault, FaultCode, fault_in
from parley_servicekit.logs import get_logger

_log = get_logger()
_PROGRESS_EVERY_MS = 500
# One reply as a whole must fit into an event of the log (64 KiB, as JSON) and into one message to the client.
_TEXT_MAX_BYTES = 40 * 1024
_PLAYBACK_MARK_EVERY_MS = 1000


@dataclass(frozen=True, slots=True)
class ReplyServices:
    """What replies are made with. `feed` takes events at once; `store` returns when the event is safe."""

    chat_model: ChatModel
    text_to_speech: TextToSpeech
    outbox: Outbox
    now_ms: Callable[[], float]
    feed: Callable[[events.Event], None]
    store: Callable[[Event], Awaitable[None]]


class Reply:
    """One reply from its first token to its last sample."""

    def __init__(
        self,
        reply_id: int,
        generation: GenerationRequest,
        speaking: SpeakingRequest | None,
        marks: LatencyMarks,
        services: ReplyServices,
        *,
        wants_text: bool,
    ) -> None:
        """speaking: None in a text-only conversation."""
        self.reply_id = reply_id
        self.playout = PlayoutClock()
        self.marks = marks
        self.fault: Fault | None = None
        self.prompt_token_count = 0
        self.completion_token_count = 0
        self._generation = generation
        self._speaking = speaking
        self._services = services
        self._wants_text = wants_text
        self._heard = HeardText()
        self._written: list[str] = []
        self._written_bytes = 0
        self._is_told = asyncio.Event()
        self._may_sound = asyncio.Event()
        self._may_sound.set()
        self._last_progress_ms = 0.0
        self._marked_ms = 0.0

    @property
    def was_perceived(self) -> bool:
        """Whether the person has heard (or, in a text-only conversation, read) something of it."""
        marks = self.marks
        return (marks.first_token_at_ms if self._speaking is None else marks.first_audio_at_ms) is not None

    @property
    def written_text(self) -> str:
        """What the chat model has written so far."""
        return "".join(self._written)

    def told(self) -> None:
        """The client knows of it, and may get what there is of it."""
        self._is_told.set()

    def pause(self) -> None:
        """Send no audio until `resume`."""
        self._may_sound.clear()

    def resume(self) -> None:
        """Audio may leave again."""
        self._may_sound.set()

    def heard_text(self, at_ms: float) -> str:
        """What the person has heard (or, in a text-only conversation, read) by now."""
        if self._speaking is None:
            return "".join(self._written).strip()
        return self._heard.heard(round(self.playout.heard_ms(at_ms)))

    def whole_text(self) -> str:
        """The text of all audio sent."""
        return "".join(self._written).strip() if self._speaking is None else self._heard.full_text

    async def run(self, messages: Sequence[Message]) -> None:
        """Make the reply to `messages`. A failure becomes ReplyFailed, never an exception."""
        self._generation = replace(self._generation, messages=messages)
        try:
            if self._speaking is None:
                await self._write(None)
                self._feed(events.ReplyGenerationFinished(self._now(), self.reply_id, 0))
            else:
                await self._speak(self._speaking)
        except Exception as error:
            fault = fault_in(error)
            if fault is None:
                _log.error("reply.failed_unexpectedly", exc_info=error)
            self._failed(fault or Fault.internal())

    async def _speak(self, speaking: SpeakingRequest) -> None:
        """The chat model is asked while the synthesis is being opened."""
        opened: asyncio.Future[SynthesisStream] = asyncio.get_running_loop().create_future()
        is_written = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._say(speaking, opened, is_written), name="reply.say")
            await self._write(opened)
            is_written.set()
        self._feed(events.ReplyGenerationFinished(self._now(), self.reply_id, round(self.playout.sent_ms)))
        await asyncio.sleep(self.playout.rest_ms(self._services.now_ms()) / 1000)
        if not self.playout.has_reports:
            self._feed(events.PlaybackFinished(self._now(), self.reply_id))

    async def _say(
        self, speaking: SpeakingRequest, opened: asyncio.Future[SynthesisStream], is_written: asyncio.Event
    ) -> None:
        async with self._services.text_to_speech.open_stream(speaking) as speech:
            if not opened.done():  # as it is when the reply was cancelled meanwhile
                opened.set_result(speech)
            await self._play(speech)
            await is_written.wait()  # to close the stream would fail who still writes into it

    async def _write(self, opened: asyncio.Future[SynthesisStream] | None) -> None:
        """Deltas of the chat model to the client and into the synthesis, as they come."""
        answer: AsyncIterator[TextDelta | AnswerFinished] = self._services.chat_model.answer(self._generation)
        async with aclosing(answer) as items:  # type: ignore[type-var]
            async for item in items:
                if isinstance(item, AnswerFinished):
                    self.prompt_token_count = item.prompt_token_count
                    self.completion_token_count = item.completion_token_count
                    continue
                await self._take_delta(item.text, opened)
        if opened is not None:
            await (await opened).end_text()

    async def _take_delta(self, text: str, opened: asyncio.Future[SynthesisStream] | None) -> None:
        if self._speaking is None:
            await self._is_told.wait()  # what is told counts as read
        if self.marks.first_token_at_ms is None:
            self.marks.first_token_at_ms = self._services.now_ms()
            self._feed(events.ReplyTextStarted(self._now(), self.reply_id))
        self._written_bytes += len(text.encode())
        if self._written_bytes > _TEXT_MAX_BYTES:
            raise Fault(
                "REPLY_TOO_LONG", "the reply is longer than 40 KiB of text", code=FaultCode.OUT_OF_RANGE
            )
        self._written.append(text)
        self._progressed()
        # Synthesis first: what a person reads can wait a moment, what they hear cannot.
        if opened is not None:
            await (await opened).send_text(text)
        if self._wants_text:
            await self._is_told.wait()
            await self._services.outbox.put(ReplyText(self.reply_id, text))

    async def _play(self, speech: SynthesisStream) -> None:
        """Phrase marks and audio of the synthesis to the client, paced."""
        await self._is_told.wait()
        async with aclosing(speech.results()) as results:  # type: ignore[type-var]
            async for result in results:
                match result:
                    case Phrase():
                        await self._announce(result)
                    case Audio():
                        await self._send(result)
                    case PhraseFailed():
                        await self._services.outbox.put(ErrorOutput(result.fault, reply_id=self.reply_id))
                    case SpeechFinished():
                        return

    async def _announce(self, phrase: Phrase) -> None:
        heard = _heard_phrase(phrase)
        self._heard.announce(heard)
        words = tuple((word.text_offset, word.start_ms) for word in heard.words)
        await self._services.store(
            PhraseSpoken(self.reply_id, heard.index, heard.text, heard.start_ms, heard.duration_ms, words)
        )
        await self._services.outbox.put(ReplyPhrase(self.reply_id, phrase))

    async def _send(self, audio: Audio) -> None:
        if self.marks.first_speech_at_ms is None:
            self.marks.first_speech_at_ms = self._services.now_ms()
        await self._wait_for_turn_of(audio)
        if self.marks.first_audio_at_ms is None:
            self._feed(events.ReplyAudioStarted(self._now(), self.reply_id))
            self.marks.first_audio_at_ms = self._services.now_ms()
        await self._services.outbox.put(ReplyAudio(self.reply_id, audio))
        self.playout.sent(audio.duration_ms, self._services.now_ms())
        self._progressed()
        await self._mark_playback()

    async def _wait_for_turn_of(self, audio: Audio) -> None:
        """Return, without giving way afterwards, when the reply is not paused and the client is to get `audio` now."""
        while True:
            # Not just `wait`: it returns also when the reply was paused again before this task could go on.
            if not self._may_sound.is_set():
                await self._may_sound.wait()
            elif not self._services.outbox.has_room_for_audio:
                await self._services.outbox.wait_room_for_audio()
            elif (wait_ms := self.playout.wait_ms(audio.duration_ms, self._services.now_ms())) > 0:
                await asyncio.sleep(wait_ms / 1000)
            else:
                return

    async def _mark_playback(self) -> None:
        """Store now and then how much was heard, for the case that this process dies."""
        heard_ms = self.playout.heard_ms(self._services.now_ms())
        if heard_ms - self._marked_ms >= _PLAYBACK_MARK_EVERY_MS:
            self._marked_ms = heard_ms
            await self._services.store(PlaybackMarked(self.reply_id, round(heard_ms)))

    def _progressed(self) -> None:
        now_ms = self._services.now_ms()
        if now_ms - self._last_progress_ms >= _PROGRESS_EVERY_MS:
            self._last_progress_ms = now_ms
            self._feed(events.ReplyProgressed(round(now_ms), self.reply_id))

    def _failed(self, fault: Fault) -> None:
        self.fault = fault
        self._feed(events.ReplyFailed(self._now(), self.reply_id, fault.reason))

    def _feed(self, event: events.Event) -> None:
        self._services.feed(event)

    def _now(self) -> int:
        return round(self._services.now_ms())


def _heard_phrase(phrase: Phrase) -> HeardPhrase:
    """The phrase for HeardText; word marks that make no sense are left out rather than failing the reply."""
    words: list[WordStart] = []
    for word in phrase.words:
        start_ms = round(word.start_offset_ms)
        ascends = not words or (word.text_offset > words[-1].text_offset and start_ms >= words[-1].start_ms)
        if ascends and 0 <= word.text_offset < len(phrase.text):
            words.append(WordStart(word.text_offset, start_ms))
    duration_ms = None if phrase.duration_ms is None else round(phrase.duration_ms)
    return HeardPhrase(phrase.index, phrase.text, round(phrase.start_offset_ms), duration_ms, tuple(words))
