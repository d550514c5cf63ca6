"""`check_generation`: refuses what contract or engine do not allow, naming the field. Pure; used by `chat`."""

from collections.abc import Sequence

from parley_llm import faults
from parley_llm.ports import Capabilities, Generation, Message, Sampling
from parley_servicekit import contract_faults
from parley_servicekit.faults import Fault

MESSAGE_MAX_COUNT = 1000
TEXT_MAX_BYTES = 32 << 10
MODEL_MAX_CHARS = 128
ANSWER_MAX_TOKENS = 8192
STOP_MAX_COUNT = 8
STOP_MAX_CHARS = 64


def check_generation(generation: Generation, capabilities: Capabilities) -> None:
    """Raises Fault: INVALID_ARGUMENT with the field, or NOT_FOUND for a model that is not offered."""
    check_model(generation.model, capabilities, "generation.model")
    _check_messages(generation.messages)
    _check_sampling(generation.sampling, capabilities)
    if not 0 <= generation.max_tokens <= ANSWER_MAX_TOKENS:
        raise _out_of_range("max_tokens", f"between 1 and {ANSWER_MAX_TOKENS}, or 0 for the default")


def check_model(name: str, capabilities: Capabilities, field: str) -> None:
    """Raises Fault for a name that the engine does not offer. Empty is the default model."""
    if len(name) > MODEL_MAX_CHARS:
        raise contract_faults.invalid_field(field, f"a model's name has at most {MODEL_MAX_CHARS} characters")
    if name and name not in capabilities.models:
        raise faults.model_not_found()


def check_system_prompt(text: str) -> None:
    """Raises Fault for a prompt of WarmUp that is too long."""
    if len(text.encode()) > TEXT_MAX_BYTES:
        raise contract_faults.invalid_field("system_prompt", "a text has at most 32 KiB of UTF-8")


def _check_messages(messages: Sequence[Message]) -> None:
    if not 1 <= len(messages) <= MESSAGE_MAX_COUNT:
        raise contract_faults.invalid_field("messages", f"between 1 and {MESSAGE_MAX_COUNT} messages")
    for index, message in enumerate(messages):
        if not message.text.strip():
            raise contract_faults.invalid_field(f"messages[{index}].text", "a message needs text")
        if len(message.text.encode()) > TEXT_MAX_BYTES:
            raise contract_faults.invalid_field(
                f"messages[{index}].text", "a text has at most 32 KiB of UTF-8"
            )
        if message.role == "system" and index > 0:
            raise contract_faults.invalid_field(f"messages[{index}].role", "a system message comes first")
    if messages[-1].role != "user":
        raise contract_faults.invalid_field(
            f"messages[{len(messages) - 1}].role", "the last message has to be the user's"
        )


def _check_sampling(sampling: Sampling, capabilities: Capabilities) -> None:
    _check_range("temperature", sampling.temperature, 0, 2)
    _check_range("top_p", sampling.top_p, 0, 1)
    if sampling.top_p == 0:
        raise _out_of_range("top_p", "above 0")
    _check_range("top_k", sampling.top_k, 1, 1000)
    _check_range("repeat_penalty", sampling.repeat_penalty, 0.5, 2)
    if len(sampling.stop) > STOP_MAX_COUNT:
        raise _out_of_range("stop", f"at most {STOP_MAX_COUNT} texts")
    for index, text in enumerate(sampling.stop):
        if not 1 <= len(text) <= STOP_MAX_CHARS:
            raise _out_of_range(f"stop[{index}]", f"between 1 and {STOP_MAX_CHARS} characters")
    for name in sorted(capabilities.refused_options):
        if getattr(sampling, name) is not None:
            raise contract_faults.not_honoured(f"generation.{name}", "this model server does not take it")


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    # Not a number is in no range.
    if value is not None and not low <= value <= high:
        raise _out_of_range(name, f"between {low} and {high}")


def _out_of_range(name: str, wanted: str) -> Fault:
    return contract_faults.invalid_field(f"generation.{name}", f"{name}: {wanted}")
