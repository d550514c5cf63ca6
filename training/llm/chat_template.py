"""The chat format (ChatML): as token ids for training, and as the template that goes into the model file."""

from collections.abc import Iterator

from tokenizers import Tokenizer

from training.llm.corpus import Message

END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = [END_OF_TEXT, START, END]  # ids 0, 1, 2

JINJA = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def encode(
    messages: list[Message], tokenizer: Tokenizer, copied_weight: float
) -> tuple[list[int], list[float]]:
    """Token ids of a conversation and, for each, the weight with which it is learned (0: only read)."""
    ids: list[int] = []
    weights: list[float] = []
    for message in messages:
        header = [1, *tokenizer.encode(message.role + "\n").ids]
        ids += header
        weights += [0.0] * len(header)
        for token, weight in _content(message, tokenizer, copied_weight):
            ids.append(token)
            weights.append(weight)
        ids += [2, *tokenizer.encode("\n").ids]
        weights += [1.0 if message.learned else 0.0, 0.0]
    return ids, weights


def _content(message: Message, tokenizer: Tokenizer, copied_weight: float) -> Iterator[tuple[int, float]]:
    encoded = tokenizer.encode(message.text)
    lower = message.text.lower()
    spans = [(lower.find(word), lower.find(word) + len(word)) for word in message.copied]
    for token, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
        copied = any(start < last and end > first for first, last in spans)
        yield token, (copied_weight if copied else 1.0) if message.learned else 0.0
