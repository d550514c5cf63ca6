"""Makes the embedded chat model: corpus, tokenizer, training, export, evaluation. See README.md."""
