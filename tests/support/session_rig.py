"""A `Session` with services and a store in memory, and a client that remembers all outputs, for unit tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from prometheus_client import CollectorRegistry

from parley_gateway import conversation as log
from parley_gateway.adapters.memory_conversations import MemoryConversations
from parley_gateway.metrics import GatewayMetrics
from parley_gateway.ports import (
    AudioEncoding,
    AudioFormat,
    ConversationStore,
    GenerationRequest,
    Heard,
    ListeningRequest,
    SpeakingRequest,
    SpeechBegan,
    SpeechOver,
)
from parley_gateway.session import outputs
from parley_gateway.session.config import SessionConfig
from parley_gateway.session.journal import Journal
from parley_gateway.session.services import SessionServices
from parley_gateway.session.session import Session
from parley_gateway.turns.policy import TurnDetection, TurnPolicy
from parley_servicekit.traces import NO_TRACES, Traces
from support.session_services import (
    ChatModelDouble,
    RecognitionDouble,
    SpeechToTextDouble,
    TextToSpeechDouble,
)

OWNER = "local"
PCM_16K = AudioFormat(AudioEncoding.PCM_S16LE, 16_000)
FRAME = bytes(640)
FRAME_MS = 20.0
_Kind = TypeVar("_Kind", bound=outputs.Output)


@dataclass
class Services:
    ears: SpeechToTextDouble = field(default_factory=SpeechToTextDouble)
    model: ChatModelDouble = field(default_factory=ChatModelDouble)
    voice: TextToSpeechDouble = field(default_factory=TextToSpeechDouble)
    store: ConversationStore = field(default_factory=MemoryConversations)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    traces: Traces = NO_TRACES

    def counted(self, name: str, **labels: str) -> float:
        """The value of a sample of the gateway's metrics; 0 where there is none."""
        return self.registry.get_sample_value(f"parley_gateway_{name}", labels) or 0.0

    def bundle(self) -> SessionServices:
        return SessionServices(
            self.ears,
            self.model,
            self.voice,
            self.store,
            GatewayMetrics(self.registry),
            asyncio.get_running_loop().time,
            self.traces,
        )


def session_config(policy: TurnPolicy | None = None, *, wants_audio: bool = True) -> SessionConfig:
    policy = policy or TurnPolicy(speaks=wants_audio)
    return SessionConfig(
        conversation_id="",
        persona="companion",
        listening=ListeningRequest(PCM_16K, is_manual=policy.detection is TurnDetection.PUSH_TO_TALK),
        generation=GenerationRequest("be brief", ()),
        speaking=SpeakingRequest(AudioFormat(AudioEncoding.PCM_S16LE, 24_000)),
        policy=policy,
        wants_text=True,
        wants_audio=wants_audio,
    )


class Rig:
    """One session under test. `outputs` is what its client has got, `events` what the store has."""

    def __init__(self, services: Services, session: Session, conversation_id: str) -> None:
        self.services = services
        self.session = session
        self.conversation_id = conversation_id
        self.outputs: list[outputs.Output] = []
        self._changed = asyncio.Condition()
        self._is_over = False

    @property
    def ear(self) -> RecognitionDouble:
        return self.services.ears.stream

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        return [each for each in self.outputs if isinstance(each, kind)]

    async def until(
        self, kind: type[_Kind], is_it: Callable[[_Kind], bool] = lambda _: True, count: int = 1
    ) -> _Kind:
        """The count-th output of that kind that fits."""

        def found() -> list[_Kind]:
            return [each for each in self.of(kind) if is_it(each)]

        async with self._changed:
            await self._changed.wait_for(lambda: len(found()) >= count or self._is_over)
        assert len(found()) >= count, f"ended without {kind.__name__}: {self.outputs}"
        return found()[count - 1]

    async def ended(self, count: int = 1) -> outputs.ReplyEndedOutput:
        return await self.until(outputs.ReplyEndedOutput, count=count)

    async def hear(self, frame_count: int = 1) -> None:
        for _ in range(frame_count):
            await self.session.take_audio((FRAME,), None)

    def person_says(self, text: str, start_ms: float, end_ms: float) -> None:
        """What a recogniser tells of one utterance."""
        self.ear.tell(
            SpeechBegan(start_ms),
            SpeechOver(end_ms),
            Heard(text, is_final=True, start_offset_ms=start_ms, end_offset_ms=end_ms),
        )

    async def events(self) -> tuple[log.Event, ...]:
        return (await self.services.store.read(self.conversation_id, OWNER)).events

    async def read(self) -> None:
        while (output := await self.session.outbox.get()) is not None:
            async with self._changed:
                self.outputs.append(output)
                self._changed.notify_all()
        async with self._changed:
            self._is_over = True
            self._changed.notify_all()


@asynccontextmanager
async def in_session(
    services: Services | None = None, config: SessionConfig | None = None, *, reads: bool = True
) -> AsyncIterator[Rig]:
    """A running session; at the end the person leaves, if the session has not ended by itself."""
    services = services or Services()
    now = datetime.now(UTC)
    opened = await services.store.create(log.Conversation("c1", OWNER, now, now))
    session = Session("s1", config or session_config(), Journal(services.store, opened), services.bundle())
    rig = Rig(services, session, "c1")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(session.run(), name="session")
        if reads:
            tasks.create_task(rig.read(), name="client")
            await rig.until(outputs.Ready)
        yield rig
        session.end()
        if not reads:
            session.outbox.close()
