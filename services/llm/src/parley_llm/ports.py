"""What the llm service needs of a chat model, in domain words. `chat` works on these, `engines` implement them."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Message:
    """One thing said."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen; None leaves it to the engine's default for the model."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """What is to be answered and how.

    messages: oldest first, a system message only at the beginning.
    model: name as `list_models` gives it; empty stands for the engine's default.
    max_tokens: longest answer; 0 stands for the service's default until `chat` has filled it in.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 0
    model: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """The last piece of a stream: how the answer ended. Counts are 0 where the engine does not know them."""

    finish_reason: FinishReason
    prompt_token_count: int = 0
    completion_token_count: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """A chat model that an engine offers; 0 means not known."""

    name: str
    description: str
    language_codes: tuple[str, ...] = ()
    is_loaded: bool = False
    size_bytes: int = 0
    context_token_count: int = 0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do.

    models: names that requests may ask for, the default first.
    context_token_count: prompt and answer of one conversation fit into this.
    refused_options: fields of `Sampling` that this engine cannot honour.
    needs_warm_up: whether a first answer takes longer than the next ones.
    """

    models: tuple[str, ...]
    context_token_count: int
    refused_options: frozenset[str] = frozenset()
    needs_warm_up: bool = True


class ContextOverflow(Exception):  # noqa: N818 - a fact about a prompt, mended by sending a shorter one
    """The prompt has more tokens than the model's context. Raised before the first piece of a stream."""


class ChatEngine(Protocol):
    """A model library or server: heavy, shared by all requests, opened once."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; fixed once `open` has returned."""

    async def open(self) -> None:
        """Acquire what it owns. Raises Fault where only a change by the operator helps."""

    async def ensure_available(self) -> None:
        """Make sure that requests can be answered now: reach the server, restart a dead child. Raises Fault."""

    async def wait_lost(self) -> None:
        """Return as soon as it is known that requests cannot be answered any more; may never return."""

    def open_stream(self, generation: Generation) -> AsyncGenerator[str | Completion, None]:
        """The answer's pieces as they are written, then one Completion.

        An empty piece says that the model works without anything to tell. Closing or cancelling the generator
        stops the generation upstream at once. Raises Fault, or ContextOverflow before the first piece.
        """

    async def list_models(self) -> tuple[Model, ...]:
        """The models of `capabilities.models`, in that order, with what is known now. Raises Fault."""

    async def close(self) -> None:
        """Give everything back; the engine is not used afterwards."""
