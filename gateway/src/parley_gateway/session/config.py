"""`SessionConfig`: what a conversation is to be like, checked and with defaults filled in. Made by the entrypoint."""

from dataclasses import dataclass

from parley_gateway.ports import GenerationRequest, ListeningRequest, SpeakingRequest
from parley_gateway.turns.policy import TurnPolicy


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """conversation_id: empty = a new one. persona: empty = the client's own system prompt.

    generation is a template: the system prompt is set, the messages are filled in for each turn. traceparent: of the
    client's own W3C trace; empty = none.
    """

    conversation_id: str
    persona: str
    listening: ListeningRequest
    generation: GenerationRequest
    speaking: SpeakingRequest
    policy: TurnPolicy
    wants_text: bool
    wants_audio: bool
    traceparent: str = ""
