"""`python -m training.llm.export FOLDER MODEL.gguf`: writes the trained model in Q8_0 for llama.cpp.

Needs FOLDER/tokenizer.json and FOLDER/model.pt.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.llm.chat_template import JINJA, SPECIAL_TOKENS
from training.llm.model import Shape

Array = NDArray[np.float32]


def neighbour_pairs(weight: Array, head_count: int) -> Array:
    """Reorder query or key rows (out, in) from half pairs (i, i + half) to neighbour pairs."""
    rows, columns = weight.shape
    halves = weight.reshape(head_count, 2, rows // head_count // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows, columns)


def tensors(weights: dict[str, Tensor], shape: Shape) -> dict[str, Array]:
    """llama.cpp's tensor names and values; no output.weight, since the embedding is tied."""
    source = {name: weight.numpy() for name, weight in weights.items()}
    named = {
        "token_embd.weight": source["embedding.weight"],
        "output_norm.weight": source["final_norm.weight"],
    }
    for index in range(shape.layer_count):
        ours, theirs = f"blocks.{index}.", f"blk.{index}."
        query, key, value = np.split(source[ours + "query_key_value.weight"], 3)
        gate, up = np.split(source[ours + "gate_up.weight"], 2)
        named |= {
            theirs + "attn_norm.weight": source[ours + "attention_norm.weight"],
            theirs + "attn_q.weight": neighbour_pairs(query, shape.head_count),
            theirs + "attn_k.weight": neighbour_pairs(key, shape.head_count),
            theirs + "attn_v.weight": value,
            theirs + "attn_output.weight": source[ours + "attention_output.weight"],
            theirs + "ffn_norm.weight": source[ours + "feed_forward_norm.weight"],
            theirs + "ffn_gate.weight": gate,
            theirs + "ffn_up.weight": up,
            theirs + "ffn_down.weight": source[ours + "down.weight"],
        }
    return named


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("Parley tiny chat")
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layer_count)
    writer.add_feed_forward_length(shape.feed_forward_width)
    writer.add_head_count(shape.head_count)
    writer.add_head_count_kv(shape.head_count)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _describe_tokenizer(writer: gguf.GGUFWriter, tokenizer_file: Path) -> None:
    model = json.loads(tokenizer_file.read_text(encoding="utf-8"))["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if token in SPECIAL_TOKENS else gguf.TokenType.NORMAL for token in tokens]
    )
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(JINJA)


def export(folder: Path, model_file: Path) -> None:
    """Write `model_file`; matrices are quantized, norms stay float32."""
    checkpoint = torch.load(folder / "model.pt", weights_only=True)
    shape = Shape(**checkpoint["shape"])
    writer = gguf.GGUFWriter(str(model_file), "llama")
    _describe(writer, shape)
    _describe_tokenizer(writer, folder / "tokenizer.json")
    for name, weight in tensors(checkpoint["weights"], shape).items():
        if weight.ndim == 1:
            writer.add_tensor(name, weight)
        else:
            quantized = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{model_file.name}: {model_file.stat().st_size} bytes")


def main() -> None:
    """Parse the command line and export."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("model_file", type=Path)
    options = arguments.parse_args()
    export(options.folder, options.model_file)


if __name__ == "__main__":
    main()
