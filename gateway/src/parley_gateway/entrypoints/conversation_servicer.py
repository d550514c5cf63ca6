"""ConversationService: a session for each Converse call, status, personas."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import grpc.aio

from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley.gateway.v1.conversation_service_pb2_grpc import ConversationServiceServicer
from parley_gateway import wire
from parley_gateway.conversation import Conversation
from parley_gateway.entrypoints.conversation_requests import (
    effective_config,
    refuse_tool_result,
    session_config,
    updated_config,
)
from parley_gateway.entrypoints.conversation_responses import response
from parley_gateway.personas import Persona
from parley_gateway.ports import OpenedConversation
from parley_gateway.session import outputs
from parley_gateway.session.config import SessionConfig
from parley_gateway.session.journal import Journal
from parley_gateway.session.services import SessionServices
from parley_gateway.session.session import Session
from parley_servicekit.faults import Fault
from parley_servicekit.traces import traceparent_of

# API keys come in a later version; until then every conversation belongs to the one owner of the machine.
OWNER = "local"
_CONFIG_WITHIN_S = 10.0
_RETRY_AFTER_MS = 1000


@dataclass(frozen=True, slots=True)
class ConversationLimits:
    """session_max_count sessions at once; drain_grace_ms for those that run when the process goes away.

    client_stall_ms: a client that reads nothing for so long is dropped, so that it does not hold a place and memory.
    """

    session_max_count: int
    drain_grace_ms: int
    client_stall_ms: int = 10_000


class ConversationServicer(ConversationServiceServicer):
    """Live conversations. Sessions run as tasks of `tasks`, which outlives any connection."""

    def __init__(
        self,
        services: SessionServices,
        personas: Mapping[str, Persona],
        default_persona: str,
        limits: ConversationLimits,
        status: Callable[[], Awaitable[pb2.GetStatusResponse]],
        tasks: asyncio.TaskGroup,
        count_error: Callable[[str], None],
    ) -> None:
        """count_error: told the reason of every error within a conversation; the end of a call is counted elsewhere."""
        self._services = services
        self._personas = personas
        self._default_persona = default_persona
        self._limits = limits
        self._status = status
        self._tasks = tasks
        self._count_error = count_error
        services.metrics.session_slots.set(limits.session_max_count)
        self._sessions: set[Session] = set()
        self._opening_count = 0
        self._is_draining = False

    async def Converse(  # type: ignore[override]  # grpc.aio takes a coroutine that reads and writes
        self, request_iterator: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """See the proto."""
        config = await self._first_config(context)
        session = await self._open(replace(config, traceparent=traceparent_of(context)))
        self._sessions.add(session)
        self._services.metrics.sessions.set(len(self._sessions))
        running = self._tasks.create_task(session.run(), name=f"session.{session.session_id}")
        running.add_done_callback(lambda _: self._forget(session))
        if self._is_draining:
            session.drain(self._limits.drain_grace_ms)
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(session, context), name="converse.read")
                await self._write(session, context)
                reading.cancel()
        finally:
            session.end()
            session.outbox.close()  # nobody reads it any more: what the session still has to do must not wait for room
        if session.fault is not None:
            raise session.fault

    async def GetStatus(self, request: pb2.GetStatusRequest, context: Any) -> pb2.GetStatusResponse:
        """See the proto."""
        status = await self._status()
        status.session_count = len(self._sessions)
        status.session_limit = self._limits.session_max_count
        return status

    async def ListPersonas(self, request: pb2.ListPersonasRequest, context: Any) -> pb2.ListPersonasResponse:
        """See the proto."""
        default = self._personas[self._default_persona]
        ordered = [default, *(persona for persona in self._personas.values() if persona is not default)]
        return pb2.ListPersonasResponse(
            personas=[pb2.Persona(name=persona.name, description=persona.description) for persona in ordered]
        )

    def drain(self) -> None:
        """Tell every session that the gateway goes away."""
        self._is_draining = True
        for session in tuple(self._sessions):
            session.drain(self._limits.drain_grace_ms)

    # Opening.

    async def _first_config(self, context: Any) -> SessionConfig:
        try:
            async with asyncio.timeout(_CONFIG_WITHIN_S):
                first = await context.read()
        except TimeoutError:
            raise Fault.deadline("CONFIG_MISSING", "no config came within 10 s") from None
        if first is grpc.aio.EOF or first.WhichOneof("request") != "config":
            raise Fault.caller("CONFIG_MISSING", "the first message must be config", field="config")
        return session_config(first.config, self._personas, self._default_persona)

    async def _open(self, config: SessionConfig) -> Session:
        if len(self._sessions) + self._opening_count >= self._limits.session_max_count:
            self._services.metrics.refused_sessions.inc()
            raise Fault.capacity("AT_CAPACITY", "all sessions are taken", retry_after_ms=_RETRY_AFTER_MS)
        self._opening_count += 1
        try:
            journal = Journal(self._services.store, await self._opened(config))
        finally:
            self._opening_count -= 1
        return Session(_new_id(), config, journal, self._services)

    async def _opened(self, config: SessionConfig) -> OpenedConversation:
        if config.conversation_id:
            return await self._services.store.open(config.conversation_id, OWNER)
        now = datetime.now(UTC)
        conversation = Conversation(
            conversation_id=_new_id(), owner=OWNER, create_time=now, update_time=now, persona=config.persona
        )
        return await self._services.store.create(conversation)

    def _forget(self, session: Session) -> None:
        self._sessions.discard(session)
        self._services.metrics.sessions.set(len(self._sessions))

    # The two directions.

    async def _write(self, session: Session, context: Any) -> None:
        while (output := await session.outbox.get()) is not None:
            if isinstance(output, outputs.ErrorOutput):
                self._count_error(output.fault.reason)
            message = response(output)
            if isinstance(output, outputs.Ready):
                effective = effective_config(session.config, output.conversation_id)
                message.ready.effective_config.CopyFrom(effective)
            try:
                async with asyncio.timeout(self._limits.client_stall_ms / 1000):
                    await context.write(message)
            except TimeoutError:
                raise Fault.deadline("CLIENT_STALLED", "the client has stopped reading") from None

    async def _read(self, session: Session, context: Any) -> None:
        """What the client sends, until it ends. What is wrong with one message costs only that message."""
        with contextlib.suppress(_PersonLeftError):
            while (request := await context.read()) is not grpc.aio.EOF:
                await session.wait_for_room()
                try:
                    await self._take(session, request)
                except Fault as fault:
                    await session.outbox.put(outputs.ErrorOutput(fault))
        session.end()

    async def _take(self, session: Session, request: pb2.ConverseRequest) -> None:  # noqa: C901 - one case a message
        match request.WhichOneof("request"):
            case "audio":
                chunk = request.audio
                offset_ms = wire.milliseconds(chunk.start_offset) if chunk.HasField("start_offset") else None
                await session.take_audio(tuple(chunk.packets), offset_ms)
            case "text":
                session.take_text(request.text)
            case "start_of_turn":
                session.take_start_of_turn()
            case "end_of_turn":
                session.take_end_of_turn()
            case "interrupt":
                session.take_interrupt()
            case "playback":
                played_ms = wire.milliseconds(request.playback.played_duration)
                playback = request.playback
                session.take_playback(playback.reply_id, played_ms, playback.underrun_count)
            case "update":
                config = updated_config(session.config, request.update, self._personas, self._default_persona)
                session.take_config(config)
            case "end_conversation":
                raise _PersonLeftError
            case "config":
                raise Fault.caller("CONFIG_TWICE", "config comes once; use update", field="config")
            case "tool_result":
                raise refuse_tool_result(request.tool_result)
            case _:
                raise Fault.caller(
                    "REQUEST_EMPTY", "a message needs one of the fields of request", field="request"
                )


class _PersonLeftError(Exception):
    """The client said end_conversation."""


def _new_id() -> str:
    return uuid.uuid4().hex
