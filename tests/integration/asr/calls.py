"""Talks to a running asr process over real gRPC. Used by the integration tests of asr."""

from collections.abc import Iterable, Sequence
from typing import Any

import grpc.aio
import numpy as np
import numpy.typing as npt
from google.protobuf.duration_pb2 import Duration

from parley.asr.v1 import recognition_service_pb2 as pb
from parley.asr.v1 import recognition_service_pb2_grpc as pb_grpc
from parley.audio.v1 import audio_pb2
from parley_servicekit.faults import Fault
from parley_servicekit.grpc_client import open_channel
from parley_servicekit.grpc_faults import fault_from_rpc_error

Request = pb.StreamingRecognizeRequest
PCM_16K = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=16_000)
TIMEOUT_S = 20
FINISH = Request(finish_utterance=pb.FinishUtterance())
DISCARD = Request(discard_utterance=pb.DiscardUtterance())
END = Request(end_of_audio=pb.EndOfAudio())


def config(**fields: Any) -> Request:
    return Request(config=pb.StreamingRecognitionConfig(**{"input_audio": PCM_16K, **fields}))


def tone(duration_ms: int, rate_hz: int = 16_000) -> npt.NDArray[np.float32]:
    """Loud enough to be speech to the scripted engine's detector."""
    seconds = np.arange(duration_ms * rate_hz // 1000) / rate_hz
    return (0.5 * np.sin(2 * np.pi * 220 * seconds)).astype(np.float32)


def silence(duration_ms: int, rate_hz: int = 16_000) -> npt.NDArray[np.float32]:
    return np.zeros(duration_ms * rate_hz // 1000, dtype=np.float32)


def s16(samples: npt.NDArray[np.float32]) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def chunk(*packets: bytes, at: Duration | None = None) -> Request:
    return Request(audio=audio_pb2.AudioChunk(packets=packets, start_offset=at))


def chunks(samples: npt.NDArray[np.float32], chunk_ms: int = 100) -> list[Request]:
    step = chunk_ms * 16
    return [chunk(s16(samples[start : start + step])) for start in range(0, len(samples), step)]


def milliseconds(duration: Duration) -> int:
    return round(duration.seconds * 1000 + duration.nanos / 1_000_000)


class Client:
    """A channel and a stub to one process."""

    def __init__(self, address: str) -> None:
        self.channel = open_channel(address)
        self.stub: Any = pb_grpc.RecognitionServiceStub(self.channel)

    async def close(self) -> None:
        await self.channel.close()

    def stream(self) -> Any:
        return self.stub.StreamingRecognize(timeout=TIMEOUT_S)

    async def recognize_live(self, requests: Iterable[Request]) -> list[pb.StreamingRecognizeResponse]:
        """All responses to these requests. Raises Fault."""
        return await collected(self.stub.StreamingRecognize(iter(requests), timeout=TIMEOUT_S))

    async def recognize(
        self, content: bytes, *, piece_bytes: int = 65_536, **config_fields: Any
    ) -> list[pb.RecognizeResponse]:
        """All responses to a recording. Raises Fault."""
        pieces = [content[start : start + piece_bytes] for start in range(0, len(content), piece_bytes)]
        requests = [pb.RecognizeRequest(config=pb.RecognizeConfig(**config_fields))]
        requests += [pb.RecognizeRequest(content=piece) for piece in pieces]
        return await collected(self.stub.Recognize(iter(requests), timeout=TIMEOUT_S))


async def collected(call: Any) -> list[Any]:
    """All responses of a call that are still to come. Raises Fault."""
    responses = []
    try:
        while (response := await call.read()) is not grpc.aio.EOF:
            responses.append(response)
        return responses
    except grpc.aio.AioRpcError as error:
        raise fault_from_rpc_error(error) from error


async def fault_of(call: Any) -> Fault:
    """The fault with which a call ends."""
    try:
        await collected(call)
    except Fault as fault:
        return fault
    raise AssertionError("the call did not fail")


def story(responses: Sequence[pb.StreamingRecognizeResponse]) -> list[str]:
    """The responses as words; partials and acknowledgements left out."""
    told = []
    for response in responses:
        match response.WhichOneof("response"):
            case "started":
                told.append(f"model:{response.started.model}")
            case "speech_activity":
                kind = pb.SpeechActivityKind.Name(response.speech_activity.kind)
                told.append(kind.removeprefix("SPEECH_ACTIVITY_KIND_"))
            case "transcript" if response.transcript.is_final:
                told.append(f"final:{response.transcript.text}")
            case "utterance_failed":
                told.append(f"failed:{response.utterance_failed.code}")
    return told
