"""Which messages of a conversation are sent to the model, so that they fit its context. Pure; used by `chat`.

Servers keep the work done for a prompt's beginning and skip it when the next prompt begins the same way. So old
turns are dropped seldom and many at a time: `fit` walks through the conversation from its beginning and, where it
would overflow, drops down to half of the room. The same walk one turn later ends at the same first message.
"""

from collections.abc import Sequence
from itertools import groupby

from parley_llm.ports import Message

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \n"
_ASCII = bytes(range(128))
# Role, separators and end mark that chat templates put around a message.
_MESSAGE_TOKEN_COUNT = 8


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, rather too many than too few, without knowing the tokenizer.

    Words take about a token for 4 letters in English and fewer letters in other languages (3 assumed); digits and
    signs one each; other scripts about a token for 2 bytes of UTF-8. Linear in C: 1 MiB takes about a millisecond.
    """
    encoded = text.encode()
    not_letters = encoded.translate(None, _LETTERS)
    foreign_count = len(not_letters.translate(None, _ASCII))
    sign_count = len(not_letters) - foreign_count
    letter_count = len(encoded) - len(not_letters)
    return letter_count // 3 + sign_count + foreign_count // 2 + 1


def estimate_prompt(messages: Sequence[Message]) -> int:
    """Tokens of a whole prompt, estimated as `estimate_tokens` does."""
    return sum(_weigh(message) for message in messages)


def join_neighbours(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Neighbours of one role as one message: many chat templates insist on roles that alternate."""
    return tuple(
        Message(role, "\n".join(message.text for message in group))
        for role, group in groupby(messages, key=lambda message: message.role)
    )


def fit(messages: Sequence[Message], token_count: int) -> tuple[Message, ...]:
    """The system message, and as many of the newest turns as fit into `token_count` tokens together.

    messages: oldest first, not empty. What is kept begins with a message of the user where there is one, and the
    last message is always kept, also when it is too long: see `fixed_part`.
    """
    system = tuple(messages[:1]) if messages[0].role == "system" else ()
    turns = messages[len(system) :]
    room = max(token_count - estimate_prompt(system), 0)
    weights = [_weigh(message) for message in turns]
    first, used = 0, 0
    for index, weight in enumerate(weights):
        used += weight
        if used <= room:
            continue
        while first < index and (used > room // 2 or turns[first].role != "user"):
            used -= weights[first]
            first += 1
    while 0 < first < len(turns) - 1 and turns[first].role != "user":
        first += 1
    return (*system, *turns[first:])


def fixed_part(messages: Sequence[Message]) -> tuple[Message, ...]:
    """What `fit` never drops: the system message and the last one."""
    return (messages[0], messages[-1]) if messages[0].role == "system" else (messages[-1],)


def _weigh(message: Message) -> int:
    return estimate_tokens(message.text) + _MESSAGE_TOKEN_COUNT
