"""`SessionServices`: what every session of a gateway works with. Made once by bootstrap."""

from collections.abc import Callable
from dataclasses import dataclass

from parley_gateway.metrics import GatewayMetrics
from parley_gateway.ports import ChatModel, ConversationStore, SpeechToText, TextToSpeech
from parley_servicekit.traces import NO_TRACES, Traces


@dataclass(frozen=True, slots=True)
class SessionServices:
    """The three services, the store, the metrics, the clock in seconds (time.monotonic but in tests), and traces."""

    speech_to_text: SpeechToText
    chat_model: ChatModel
    text_to_speech: TextToSpeech
    store: ConversationStore
    metrics: GatewayMetrics
    monotonic: Callable[[], float]
    traces: Traces = NO_TRACES
