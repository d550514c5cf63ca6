"""`python -m training.llm.evaluate MODEL.gguf`: greedy replies to conversations that training never draws.

The phrasings come from the same grammar, with new noise and histories; tests/quality has hand-written inputs.
"""

import argparse
import collections
from pathlib import Path
from typing import Any

from xllamacpp import CommonParams, Server

from training.domain.intents import Domain
from training.llm.corpus import SERIES, Corpus, Message

HELD_OUT_SEED = 900_002
LONGEST_HISTORY = 14  # messages; longer ones would not fit the context


def open_model(model_file: Path) -> Server:
    """The model in llama.cpp on one thread."""
    parameters = CommonParams()
    parameters.model.path = str(model_file)
    parameters.n_ctx = 512
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    parameters.use_jinja = True
    parameters.verbosity = -1
    return Server(parameters)


def reply(server: Server, messages: list[Message]) -> str:
    """The greedy reply to a conversation."""
    pieces: list[str] = []

    def collect(chunk: dict[str, Any]) -> bool:
        pieces.extend(choice["delta"].get("content") or "" for choice in chunk.get("choices", []))
        return False

    request = {
        "messages": [{"role": message.role, "content": message.text} for message in messages],
        "temperature": 0,
        "max_tokens": 120,
        "stream": True,
    }
    server.handle_chat_completions(request, collect)
    return "".join(pieces)


def equally_good(expected: str, domain: Domain) -> list[str]:
    """The replies that are as right as the expected one: any joke for a joke, any story for a story."""
    series = (domain.intents[name].replies for name in SERIES)
    return next((replies for replies in series if expected in replies), [expected])


def kind_of(messages: list[Message], domain: Domain) -> str:
    """What the last reply shows: a proverb, a copied word of this or an earlier turn, or another reply."""
    last, question = messages[-1], messages[-2].text.lower()
    if any(last.text in proverbs for proverbs in domain.proverbs.values()):
        return "8-ball, the expected proverb"
    if last.copied:
        return "word copied from " + ("this turn" if last.copied[0] in question else "an earlier turn")
    return "other reply"


def main() -> None:
    """Print, by kind, how many of the replies are as expected."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model_file", type=Path)
    arguments.add_argument("--conversation-count", type=int, default=1000)
    options = arguments.parse_args()
    server, corpus = open_model(options.model_file), Corpus(HELD_OUT_SEED)
    known_proverbs = {text for proverbs in corpus.domain.proverbs.values() for text in proverbs}
    right, total = collections.Counter[str](), collections.Counter[str]()
    for _ in range(options.conversation_count):
        messages = corpus.conversation()
        if not messages[-1].learned or len(messages) > LONGEST_HISTORY:
            continue
        kind, answer = kind_of(messages, corpus.domain), reply(server, messages[:-1])
        total[kind] += 1
        right[kind] += answer in equally_good(messages[-1].text, corpus.domain)
        if kind.startswith("8-ball"):
            total["8-ball, any known proverb"] += 1
            right["8-ball, any known proverb"] += answer in known_proverbs
    for kind in sorted(total):
        print(f"{kind}: {right[kind]} of {total[kind]} ({100 * right[kind] / total[kind]:.1f} %)")


if __name__ == "__main__":
    main()
