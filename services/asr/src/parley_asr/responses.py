"""Domain events to wire responses. Used by `streaming_call`, `recording_call` and `servicer`."""

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from parley.asr.v1 import recognition_options_pb2 as options_pb
from parley.asr.v1 import recognition_service_pb2 as service_pb
from parley_asr.events import (
    AudioAcknowledged,
    RecognitionEvent,
    SpeechActivityChanged,
    TranscriptChanged,
    TranscriptFinished,
    UtteranceFailed,
)
from parley_asr.ports import SAMPLE_RATE_HZ, ModelCapabilities, TimedWord
from parley_asr.voice_activity import ActivityKind
from parley_servicekit.grpc_faults import status_from_fault

FAULT_DOMAIN = "asr.parley"
_NS_PER_SAMPLE = 1_000_000_000 // SAMPLE_RATE_HZ  # exact: 62 500
_KINDS = {
    ActivityKind.STARTED: service_pb.SPEECH_ACTIVITY_KIND_STARTED,
    ActivityKind.PAUSED: service_pb.SPEECH_ACTIVITY_KIND_PAUSED,
    ActivityKind.RESUMED: service_pb.SPEECH_ACTIVITY_KIND_RESUMED,
    ActivityKind.ENDED: service_pb.SPEECH_ACTIVITY_KIND_ENDED,
}


def started(capabilities: ModelCapabilities) -> service_pb.StreamingRecognizeResponse:
    """The config is accepted and this is what runs."""
    return service_pb.StreamingRecognizeResponse(
        started=service_pb.RecognitionStarted(
            model=capabilities.name, language_codes=capabilities.language_codes
        )
    )


def streaming_response(
    event: RecognitionEvent, capabilities: ModelCapabilities
) -> service_pb.StreamingRecognizeResponse:
    """An event of a live recognition."""
    match event:
        case SpeechActivityChanged(activity):
            told = service_pb.SpeechActivity(
                kind=_KINDS[activity.kind], offset=duration(activity.offset_samples)
            )
            return service_pb.StreamingRecognizeResponse(speech_activity=told)
        case TranscriptChanged() | TranscriptFinished():
            return service_pb.StreamingRecognizeResponse(transcript=transcript(event, capabilities))
        case AudioAcknowledged(offset_samples):
            acknowledged = service_pb.AcknowledgedOffset(offset=duration(offset_samples))
            return service_pb.StreamingRecognizeResponse(acknowledged=acknowledged)
        case UtteranceFailed(fault=fault):
            status = status_from_fault(fault, FAULT_DOMAIN)
            return service_pb.StreamingRecognizeResponse(utterance_failed=status)


def transcript(
    event: TranscriptChanged | TranscriptFinished, capabilities: ModelCapabilities
) -> service_pb.Transcript:
    """A partial or final transcript. Its language is told only when the model knows just one."""
    is_final = isinstance(event, TranscriptFinished)
    return service_pb.Transcript(
        utterance_index=event.utterance_index,
        text=event.text,
        is_final=is_final,
        stability=1.0 if isinstance(event, TranscriptFinished) else event.stability,
        language_code=capabilities.language_codes[0] if len(capabilities.language_codes) == 1 else "",
        words=_words(event.words) if isinstance(event, TranscriptFinished) else (),
        start_offset=duration(event.start_sample),
        end_offset=duration(event.end_sample),
    )


def model(capabilities: ModelCapabilities) -> options_pb.RecognitionModel:
    """A loaded model as ListModels tells it."""
    return options_pb.RecognitionModel(
        name=capabilities.name,
        description=capabilities.description,
        language_codes=capabilities.language_codes,
        is_streaming=capabilities.is_streaming,
        supports_hot_words=capabilities.supports_hot_words,
        is_loaded=True,
        size_bytes=capabilities.size_bytes,
    )


def progress(recognized_samples: int, total_samples: int | None) -> service_pb.RecognizeResponse:
    """How far a recording is; total_samples: None as long as it is not known."""
    told = service_pb.RecognizeProgress(recognized_offset=duration(recognized_samples))
    if total_samples is not None:
        told.total_duration.CopyFrom(duration(total_samples))
    return service_pb.RecognizeResponse(progress=told)


def duration(samples: int) -> Duration:
    """A number of samples at SAMPLE_RATE_HZ as exact time."""
    seconds, rest = divmod(samples, SAMPLE_RATE_HZ)
    return Duration(seconds=seconds, nanos=rest * _NS_PER_SAMPLE)


def _words(words: Sequence[TimedWord]) -> list[options_pb.RecognizedWord]:
    return [
        options_pb.RecognizedWord(
            text=word.text, start_offset=duration(word.start_sample), end_offset=duration(word.end_sample)
        )
        for word in words
    ]
