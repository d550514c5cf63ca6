"""Writes a GGUF model of hand-set weights that recites the alphabet for ever, for tests of llama.cpp's real path.

One layer that does nothing, byte-level tokens, and an output matrix that gives each token's successor: after the
newline that ends the ChatML prompt comes `a`, after `a` comes `b`, after `z` comes `a`. So an answer is known letter
by letter at temperature 0, goes on until something stops it, and needs no training.
"""

from pathlib import Path

import gguf
import numpy as np

CONTEXT_TOKEN_COUNT = 4096
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_WIDTH = 64
_FEED_FORWARD_WIDTH = 32
_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def alphabet(length: int) -> str:
    """What the model says in its first `length` tokens."""
    return (ALPHABET * (length // 26 + 1))[:length]


def write_alphabet_model(path: Path, context_token_count: int = CONTEXT_TOKEN_COUNT) -> Path:
    """Write the model (about 150 kB) to `path`."""
    symbols = _byte_symbols()
    tokens = [*symbols, *_SPECIALS]
    random = np.random.default_rng(7)
    embeddings = random.standard_normal((len(tokens), _WIDTH)).astype(np.float32)
    embeddings *= np.sqrt(_WIDTH) / np.linalg.norm(embeddings, axis=1, keepdims=True)
    output = np.zeros_like(embeddings)
    for token, following in zip("\n" + ALPHABET, ALPHABET + ALPHABET[0], strict=True):
        # Weak enough for a high temperature to choose otherwise.
        output[ord(following)] += 0.04 * embeddings[ord(token)]

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("alphabet")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(context_token_count)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED_FORWARD_WIDTH)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(_WIDTH // 2)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.NORMAL] * len(symbols) + [gguf.TokenType.CONTROL] * len(_SPECIALS)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{symbols[0]} {symbols[1]}"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(258)
    writer.add_pad_token_id(256)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(_TEMPLATE)
    for name, tensor in _tensors(embeddings, output).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(embeddings: np.ndarray, output: np.ndarray) -> dict[str, np.ndarray]:
    """Everything between the embeddings and the output is zero: the residual passes them through."""
    square = np.zeros((_WIDTH, _WIDTH), np.float32)
    wide = np.zeros((_FEED_FORWARD_WIDTH, _WIDTH), np.float32)
    ones = np.ones(_WIDTH, np.float32)
    return {
        "token_embd.weight": embeddings,
        "output_norm.weight": ones,
        "output.weight": output,
        "blk.0.attn_norm.weight": ones,
        "blk.0.ffn_norm.weight": ones,
        **{f"blk.0.attn_{part}.weight": square for part in ("q", "k", "v", "output")},
        "blk.0.ffn_gate.weight": wide,
        "blk.0.ffn_up.weight": wide,
        "blk.0.ffn_down.weight": np.zeros((_WIDTH, _FEED_FORWARD_WIDTH), np.float32),
    }


def _byte_symbols() -> list[str]:
    """The printable character that stands for each byte in byte-level vocabularies (OpenAI's GPT-2 encoder)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]
