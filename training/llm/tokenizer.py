"""`python -m training.llm.tokenizer FOLDER`: trains the byte-level BPE tokenizer on generated conversations.

Called first; train.py and export.py read FOLDER/tokenizer.json. llama.cpp knows this splitting as `smollm`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from training.domain.intents import read_domain, spoken_replies
from training.llm.chat_template import SPECIAL_TOKENS
from training.llm.corpus import FACTS, Corpus

CONVERSATION_COUNT = 30_000


def _texts(seed: int) -> Iterator[str]:
    corpus = Corpus(seed)
    domain = read_domain()
    for _ in range(CONVERSATION_COUNT):
        for message in corpus.conversation():
            yield message.role + "\n" + message.text
    for reply in spoken_replies(domain):
        yield from [reply] * 20
    for slot in FACTS:  # words to be copied become one token each
        for word in domain.slots[slot]:
            yield from [f"x {word} {word.title()}", word] * 400


def train_tokenizer(vocabulary_size: int, seed: int) -> Tokenizer:
    """Digits stand alone, then byte-level pieces without a prefix space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed), trainer)
    return tokenizer


def main() -> None:
    """Write FOLDER/tokenizer.json."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--vocabulary-size", type=int, default=3072)
    options = arguments.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(options.vocabulary_size, seed=11)
    tokenizer.save(str(options.folder / "tokenizer.json"))
    print(f"{tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
