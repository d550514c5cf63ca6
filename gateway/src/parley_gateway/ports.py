"""What a session needs from the outside, in domain words. Adapters implement these; `bootstrap` chooses them."""

import enum
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from parley_gateway.conversation import Conversation, Event, Message
from parley_servicekit.faults import Fault


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation and its log, oldest event first. Events of kinds that this version does not know are left out."""

    conversation: Conversation
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class OpenedConversation:
    """The same, and the right to append: `fence` is higher at every opening, and only the highest may write."""

    conversation: Conversation
    events: tuple[Event, ...]
    fence: int


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A part of an owner's conversations, the latest created first. next_page_token is empty on the last page."""

    conversations: tuple[Conversation, ...]
    next_page_token: str


class ConversationStore(Protocol):
    """Conversations as event logs. Every method may raise the fault STORE_UNAVAILABLE (try again), within about a
    second; what else it may raise is said below. `faults` holds the reasons.

    A conversation belongs to its owner and is CONVERSATION_NOT_FOUND for everybody else, after its deletion, and when
    nothing was appended for the store's time to live. A cancelled or unavailable write may have happened all the same;
    repeating it is safe, because an event is kept once per (fence, event key).
    """

    async def create(self, conversation: Conversation) -> OpenedConversation:
        """Store a new, empty conversation and open it. Repeating it is safe until somebody opens it.

        Raises CONVERSATION_EXISTS, EVENT_TOO_LARGE.
        """

    async def open(self, conversation_id: str, owner: str) -> OpenedConversation:
        """Take the conversation over: the session that had it before can no longer append.

        Raises CONVERSATION_NOT_FOUND, STORE_CORRUPT.
        """

    async def append(
        self, conversation_id: str, fence: int, events: Sequence[Event], *, late: bool = False
    ) -> None:
        """Store all of `events` in this order, or none; those stored before are passed over.

        late: keep them even if somebody took the conversation over since; for replaying what was promised before.
        Raises TAKEN_OVER, CONVERSATION_NOT_FOUND, CONVERSATION_FULL, EVENT_TOO_LARGE, STORE_CORRUPT.
        """

    async def read(self, conversation_id: str, owner: str) -> StoredConversation:
        """The conversation as it is, without taking it over. Raises CONVERSATION_NOT_FOUND, STORE_CORRUPT."""

    async def list_page(self, owner: str, page_size: int, page_token: str = "") -> ConversationPage:
        """The owner's conversations, the latest created first; 1 to 1000 a page, more is taken as 1000.

        Raises PAGE_TOKEN_INVALID. A damaged conversation is left out.
        """

    async def rename(self, conversation_id: str, owner: str, title: str) -> Conversation:
        """Give it a title, whoever has it open. Raises CONVERSATION_NOT_FOUND; ValueError for a title too long."""

    async def delete(self, conversation_id: str, owner: str) -> None:
        """Delete it with its events for good. Raises CONVERSATION_NOT_FOUND."""

    async def ping(self) -> None:
        """Return if the store answers."""

    async def close(self) -> None:
        """Let go of connections and files. Nothing may be called afterwards."""


class AudioEncoding(enum.Enum):
    """How the bytes of a packet are to be read; the names are those of parley.audio.v1.AudioEncoding."""

    PCM_S16LE = "PCM_S16LE"
    PCM_F32LE = "PCM_F32LE"
    MULAW = "MULAW"
    ALAW = "ALAW"
    OPUS = "OPUS"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Format of one direction of a session's audio."""

    encoding: AudioEncoding
    sample_rate_hz: int
    channel_count: int = 1


@dataclass(frozen=True, slots=True)
class Audio:
    """Whole packets in a row. start_offset_ms counts from the first sample of the stream."""

    packets: Sequence[bytes]
    start_offset_ms: float
    duration_ms: float


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word; offsets from the first input sample of the stream."""

    text: str
    start_offset_ms: float
    end_offset_ms: float


@dataclass(frozen=True, slots=True)
class ListeningRequest:
    """What a session asks of recognition. Zero and empty values mean the service's defaults."""

    input_audio: AudioFormat
    model: str = ""
    language_codes: Sequence[str] = ()
    hot_words: Sequence[str] = ()
    is_manual: bool = False
    end_silence_ms: int = 0
    speech_threshold: float = 0.0


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """A person began to speak at offset_ms of the stream, or went on after a pause."""

    offset_ms: float


@dataclass(frozen=True, slots=True)
class SpeechHalted:
    """Speech stopped at offset_ms and may go on."""

    offset_ms: float


@dataclass(frozen=True, slots=True)
class SpeechOver:
    """The utterance ended; its last speech sample lies at offset_ms. Exactly one final `Heard` follows."""

    offset_ms: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What has been understood of the current utterance so far, or finally. Offsets are None where not told."""

    text: str
    is_final: bool
    stability: float = 0.0
    language_code: str = ""
    words: Sequence[Word] = ()
    start_offset_ms: float | None = None
    end_offset_ms: float | None = None


@dataclass(frozen=True, slots=True)
class InputSafe:
    """Input up to offset_ms is with the recogniser."""

    offset_ms: float


@dataclass(frozen=True, slots=True)
class UtteranceFailed:
    """The current utterance is lost; the stream goes on."""

    fault: Fault


RecognitionEvent = SpeechBegan | SpeechHalted | SpeechOver | Heard | InputSafe | UtteranceFailed


class RecognitionStream(Protocol):
    """One live recognition. Its calls raise Fault; after a Fault the stream is of no more use."""

    async def send(self, audio: Audio) -> None:
        """Pass audio on; waits while the recogniser holds back."""

    def send_now(self, audio: Audio, *, may_wait: bool) -> bool:
        """Pass audio on if there is room. False: nothing was done, `send` would wait.

        may_wait: it need not leave at once, but may do so within milliseconds, with that of others.
        """

    def belongs_to(self, traceparent: str) -> None:
        """What is being said belongs to this W3C trace; told with what is sent next."""

    async def finish_utterance(self) -> None:
        """End the utterance now; exactly one final `Heard` follows."""

    async def discard_utterance(self) -> None:
        """Forget the utterance; nothing follows for it."""

    def events(self) -> AsyncIterator[RecognitionEvent]:
        """What the recogniser has to say, until the stream is closed. Raises Fault when the service fails."""


class SpeechToText(Protocol):
    """The asr service."""

    def open_stream(self, request: ListeningRequest) -> AbstractAsyncContextManager[RecognitionStream]:
        """Open a live recognition; leaving the context cancels it. Raises Fault."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What a session asks of the chat model. None and empty values mean the service's defaults."""

    system_prompt: str
    messages: Sequence[Message]
    model: str = ""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    max_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of an answer; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerFinished:
    """The answer is whole. Token counts: 0 = not known."""

    prompt_token_count: int
    completion_token_count: int


class ChatModel(Protocol):
    """The llm service."""

    def answer(self, request: GenerationRequest) -> AsyncIterator[TextDelta | AnswerFinished]:
        """One answer as it is written; the last item is AnswerFinished. Closing the iterator cancels the generation
        upstream. Raises Fault.
        """


@dataclass(frozen=True, slots=True)
class SpeakingRequest:
    """What a session asks of synthesis. None and empty values mean the service's defaults."""

    output_audio: AudioFormat
    voice: str = ""
    speed: float | None = None
    pitch: float | None = None
    volume: float | None = None
    seed: int | None = None
    language_code: str = ""


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """Where a word of a phrase begins: text_offset in code points of the phrase, start_offset_ms from the stream."""

    text_offset: int
    start_offset_ms: float


@dataclass(frozen=True, slots=True)
class Phrase:
    """Which audio says which text. duration_ms is None until the phrase is whole; the mark then comes again."""

    index: int
    text: str
    start_offset_ms: float
    duration_ms: float | None
    words: Sequence[SpokenWord] = ()


@dataclass(frozen=True, slots=True)
class PhraseFailed:
    """One phrase could not be spoken; the stream goes on with the next one."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class SpeechFinished:
    """All is spoken; audio_ms is the length of all audio."""

    audio_ms: float


class SynthesisStream(Protocol):
    """One live synthesis. Its calls raise Fault; after a Fault the stream is of no more use."""

    async def send_text(self, text: str) -> None:
        """Pass on the next piece of text; waits while the service holds back."""

    async def end_text(self) -> None:
        """Nothing more is written."""

    def results(self) -> AsyncIterator[Phrase | Audio | PhraseFailed | SpeechFinished]:
        """Marks and audio in order; the last item is SpeechFinished. Raises Fault when the service fails."""


class TextToSpeech(Protocol):
    """The tts service."""

    def open_stream(self, request: SpeakingRequest) -> AbstractAsyncContextManager[SynthesisStream]:
        """Open a live synthesis; leaving the context cancels it. Raises Fault."""
