"""What the recogniser's adapter puts on the wire, over a link without a network."""

from parley.asr.v1 import recognition_service_pb2 as asr_pb2
from parley_gateway.adapters.grpc_speech_to_text import GrpcRecognitionStream
from parley_gateway.ports import Audio
from parley_servicekit.link_call import Method
from parley_servicekit.link_client import Link

METHOD = Method(
    "/test.Ear/Hear",
    asr_pb2.StreamingRecognizeRequest.SerializeToString,
    asr_pb2.StreamingRecognizeResponse.FromString,
)


def sent(link: Link) -> list[asr_pb2.StreamingRecognizeRequest]:
    frames = [frame for frame in link.queue.take() if frame.WhichOneof("frame") == "message"]
    return [asr_pb2.StreamingRecognizeRequest.FromString(frame.message) for frame in frames]


def audio(start_offset_ms: float, size_bytes: int = 640) -> Audio:
    return Audio((bytes(size_bytes),), start_offset_ms, 20.0)


async def test_audio_tells_its_offset_only_after_a_gap() -> None:
    link = Link("instance")
    stream = GrpcRecognitionStream(link.open(METHOD, None, None))
    for start_ms in (0.0, 20.0, 40.004, 500.0, 520.0):
        assert stream.send_now(audio(start_ms), may_wait=True)
    requests = sent(link)
    assert [request.audio.HasField("start_offset") for request in requests] == [False] * 3 + [True, False]
    assert requests[3].audio.start_offset.ToMilliseconds() == 500
    assert all(len(request.audio.packets[0]) == 640 for request in requests)


async def test_a_trace_goes_with_what_is_sent_next_and_only_with_that() -> None:
    link = Link("instance")
    stream = GrpcRecognitionStream(link.open(METHOD, None, None))
    stream.belongs_to("00-1-2-3")
    stream.send_now(audio(0.0), may_wait=True)
    await stream.finish_utterance()
    assert [request.traceparent for request in sent(link)] == ["00-1-2-3", ""]


async def test_audio_that_would_have_to_wait_is_not_taken() -> None:
    link = Link("instance")
    call = link.open(METHOD, None, None)
    stream = GrpcRecognitionStream(call)
    taken_count = 0
    while stream.send_now(audio(0.0, 4000), may_wait=True):
        taken_count += 1
    assert 0 < taken_count < 20
    call.cancel()
    assert not stream.send_now(audio(0.0), may_wait=True)
