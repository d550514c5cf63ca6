"""What a live recognition tells, in domain words. Made by `recognition`, put on the wire by `responses`.

Offsets are in samples at `ports.SAMPLE_RATE_HZ` from the first sample of the stream.
"""

from dataclasses import dataclass

from parley_asr.ports import TimedWord
from parley_asr.voice_activity import Activity
from parley_servicekit.faults import Fault


@dataclass(frozen=True)
class SpeechActivityChanged:
    """Speech started, paused, resumed or ended. Exactly one final transcript follows every ENDED."""

    activity: Activity


@dataclass(frozen=True)
class TranscriptChanged:
    """A partial transcript. stability: the share of it that was there before and stayed."""

    utterance_index: int
    text: str
    stability: float
    start_sample: int
    end_sample: int


@dataclass(frozen=True)
class TranscriptFinished:
    """The final transcript of an utterance; the text is empty when nothing was understood."""

    utterance_index: int
    text: str
    words: tuple[TimedWord, ...]
    start_sample: int
    end_sample: int


@dataclass(frozen=True)
class AudioAcknowledged:
    """Audio up to here is recognised or held by the utterance under way."""

    offset_samples: int


@dataclass(frozen=True)
class UtteranceFailed:
    """The utterance under way could not be recognised; the next one may be."""

    utterance_index: int
    fault: Fault


RecognitionEvent = (
    SpeechActivityChanged | TranscriptChanged | TranscriptFinished | AudioAcknowledged | UtteranceFailed
)
