"""`LiveConversation`: one Converse call. Made by `Parley.converse`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc.aio

from parley.audio.v1 import audio_pb2
from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_client.faults import gateway_fault, too_late
from parley_servicekit.faults import Fault


class LiveConversation:
    """Send speech, text and controls; iterate over what comes back. `ready` says what is in force.

    Any task may send; one task at a time may iterate. Cancelling it, by a timeout too, ends the call.
    """

    def __init__(self, call: Any, target: str) -> None:
        self._call = call
        self._target = target
        # gRPC takes one write at a time; speech, controls and reports come from different tasks.
        self._writing = asyncio.Lock()
        self.ready = events_pb2.SessionReady()

    async def open(self, config: config_pb2.ConversationConfig, within_s: float) -> None:
        """Send the config and wait for `ready`. Fault GATEWAY_TOO_SLOW when it does not come within that time."""
        try:
            async with asyncio.timeout(within_s):
                await self._open(config)
        except TimeoutError:
            raise too_late(self._target) from None

    async def _open(self, config: config_pb2.ConversationConfig) -> None:
        await self._send(pb2.ConverseRequest(config=config))
        async for response in self:
            if response.WhichOneof("response") == "ready":
                self.ready = response.ready
                return
        raise Fault.unavailable(
            "GATEWAY_HUNG_UP", "the gateway ended the stream before the session was ready"
        )

    async def send_audio(self, packets: Sequence[bytes]) -> None:
        """Speech, in the format of the config. Waits while the gateway holds back."""
        await self._send(pb2.ConverseRequest(audio=audio_pb2.AudioChunk(packets=packets)))

    async def send_text(self, text: str) -> None:
        """A typed turn."""
        await self._send(pb2.ConverseRequest(text=text))

    async def start_turn(self) -> None:
        """Push-to-talk pressed."""
        await self._send(pb2.ConverseRequest(start_of_turn=pb2.StartOfTurn()))

    async def end_turn(self) -> None:
        """Push-to-talk released."""
        await self._send(pb2.ConverseRequest(end_of_turn=pb2.EndOfTurn()))

    async def interrupt(self) -> None:
        """Stop the reply."""
        await self._send(pb2.ConverseRequest(interrupt=pb2.Interrupt()))

    async def report_playback(self, reply_id: int, played_ms: float, underrun_count: int = 0) -> None:
        """So much of a reply has really been played."""
        report = pb2.PlaybackReport(reply_id=reply_id, underrun_count=underrun_count)
        report.played_duration.FromMicroseconds(round(played_ms * 1000))
        await self._send(pb2.ConverseRequest(playback=report))

    async def end(self) -> None:
        """The person leaves."""
        await self._send(pb2.ConverseRequest(end_conversation=pb2.EndConversation()))
        await self._call.done_writing()

    async def send(self, request: pb2.ConverseRequest) -> None:
        """Any message of the protocol."""
        await self._send(request)

    async def __aiter__(self) -> AsyncIterator[pb2.ConverseResponse]:
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                yield response
            code = await self._call.code()
        except grpc.aio.AioRpcError as error:
            raise self._fault(error) from error
        if code is not grpc.StatusCode.OK:
            raise await self._ended()

    async def _send(self, request: pb2.ConverseRequest) -> None:
        try:
            # grpc.aio cancels the whole call when a write is cancelled; who gives up sending does not mean that.
            await asyncio.shield(self._write(request))
        except grpc.aio.AioRpcError as error:
            raise self._fault(error) from error
        except Exception as error:
            if self._call.done():
                raise await self._ended() from error
            raise

    async def _write(self, request: pb2.ConverseRequest) -> None:
        async with self._writing:
            await self._call.write(request)

    async def _ended(self) -> Fault:
        """Why the call is over."""
        code = await self._call.code()
        if code is grpc.StatusCode.OK:
            return Fault.unavailable("GATEWAY_HUNG_UP", "the gateway ended the session")
        error = grpc.aio.AioRpcError(
            code,
            await self._call.initial_metadata(),
            await self._call.trailing_metadata(),
            await self._call.details(),
        )
        return self._fault(error)

    def _fault(self, error: grpc.aio.AioRpcError) -> Fault:
        fault = gateway_fault(error, self._target)
        if fault.reason == "GATEWAY_UNREACHABLE" and self.ready.conversation_id:
            return Fault.unavailable(
                "GATEWAY_GONE",
                f"the gateway at {self._target} has gone; what was said is stored: continue conversation "
                f"{self.ready.conversation_id} when it is back",
            )
        return fault
