"""The wire of the asr process: implements `parley.asr.v1.RecognitionService`. Registered by `bootstrap`.

One call each is in `streaming_call` and `recording_call`; here are places, metrics and what is not served yet.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from parley.asr.v1 import recognition_service_pb2 as service_pb
from parley.asr.v1 import recognition_service_pb2_grpc as service_grpc
from parley_asr import faults, responses
from parley_asr.call_record import CallRecord, recorded
from parley_asr.metrics import Metrics
from parley_asr.ports import SAMPLE_RATE_HZ
from parley_asr.recording_call import RecordingCall, RecordingLimits
from parley_asr.streaming_call import Engines, StreamingCall
from parley_asr.utterance_spans import UtteranceSpans
from parley_servicekit import contract_faults
from parley_servicekit.traces import NO_TRACES, Traces, serving, traceparent_of


class Places:
    """How many calls of a kind may run at once."""

    def __init__(self, max_count: int) -> None:
        self.max_count = max_count
        self._taken_count = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One place for the block. Raises Fault (RESOURCE_EXHAUSTED) at once when there is none."""
        if self._taken_count >= self.max_count:
            raise faults.at_capacity(self.max_count)
        self._taken_count += 1
        try:
            yield
        finally:
            self._taken_count -= 1


class RecognitionServicer(service_grpc.RecognitionServiceServicer):
    """Streaming methods write to the context themselves, as coroutines, which the stubs' types do not foresee."""

    def __init__(
        self,
        engines: Engines,
        recording_limits: RecordingLimits,
        places: tuple[Places, Places],
        metrics: Metrics,
        traces: Traces = NO_TRACES,
    ) -> None:
        """places: for live recognitions and for recordings."""
        self._engines = engines
        self._recording_limits = recording_limits
        self._stream_places, self._recording_places = places
        self._metrics = metrics
        self._traces = traces
        metrics.slots.labels("StreamingRecognize").set(self._stream_places.max_count)
        metrics.slots.labels("Recognize").set(self._recording_places.max_count)

    async def StreamingRecognize(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        """Live recognition."""
        model = self._engines.recognizer.capabilities.name
        spans = UtteranceSpans(self._traces, traceparent_of(context), model, self._engines.clock)
        with self._recorded("StreamingRecognize", spans) as record, self._stream_places.taken():
            await StreamingCall(self._engines, aiter(request_iterator), context.write, record).serve()

    async def Recognize(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        """A whole recording."""
        with (
            serving(self._traces, "asr recording", context) as span,
            self._recorded("Recognize", UtteranceSpans()) as record,
            self._recording_places.taken(),
        ):
            span.note(model=self._engines.recognizer.capabilities.name)
            call = RecordingCall(
                self._engines, self._recording_limits, aiter(request_iterator), context.write, record
            )
            await call.serve()
            span.note(audio_ms=round(record.audio_sample_count * 1000 / SAMPLE_RATE_HZ))

    async def ListModels(self, request: Any, context: Any) -> service_pb.ListModelsResponse:
        """The one model that is loaded."""
        return service_pb.ListModelsResponse(models=[responses.model(self._engines.recognizer.capabilities)])

    async def PullModel(self, request: Any, context: Any) -> None:  # type: ignore[override]
        """Not in this version."""
        raise contract_faults.not_in_this_version("PullModel")

    async def RemoveModel(self, request: Any, context: Any) -> service_pb.RemoveModelResponse:
        """Not in this version."""
        raise contract_faults.not_in_this_version("RemoveModel")

    async def WatchLoad(self, request: Any, context: Any) -> None:  # type: ignore[override]
        """Not in this version."""
        raise contract_faults.not_in_this_version("WatchLoad")

    def _recorded(self, method: str, spans: UtteranceSpans) -> AbstractContextManager[CallRecord]:
        return recorded(method, self._metrics, self._engines.clock, spans)
