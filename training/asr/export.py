"""Exports a checkpoint for sherpa-onnx: ``python -m training.asr.export RUN FOLDER``.

Writes ``FOLDER/model.int8.onnx`` (matrices in int8), ``tokens.txt`` and the decoding graph with its words; the float
model stays in RUN. sherpa-onnx binds tensors by their order and reads the shapes from the metadata.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from training.asr.features import BAND_COUNT
from training.asr.graph import write_graph
from training.asr.network import SHIFT_FRAMES, STATE, WINDOW_FRAMES, Network, Streaming
from training.asr.phonemes import SYMBOLS

INPUT_NAMES = ["audio_signal", "length", "cache_last_channel", "cache_last_time", "cache_last_channel_len"]
OUTPUT_NAMES = ["log_probabilities", "encoded_lengths", "next_channel", "next_time", "next_channel_len"]


def load_network(run: Path) -> Network:
    """The averaged weights of a run's newest checkpoint, in evaluation mode."""
    network = Network(len(SYMBOLS))
    network.load_state_dict(torch.load(run / "checkpoint.pt")["average"])
    network.eval()
    return network


def add_metadata(path: Path, token_count: int, tail_count: int) -> None:
    """The keys that sherpa-onnx requires; a missing one ends the process that loads the model."""
    model = onnx.load(path)
    metadata = {"window_size": WINDOW_FRAMES, "chunk_shift": SHIFT_FRAMES, "subsampling_factor": 4}
    metadata |= {"vocab_size": token_count - 1}
    for cache, last in (("channel", STATE), ("time", tail_count)):
        metadata |= {f"cache_last_{cache}_dim{axis}": size for axis, size in ((1, 1), (2, 1), (3, last))}
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=str(value))
    onnx.save(model, path)


def quantise_weights(source: Path, target: Path) -> None:
    """Store the matrices of all products as int8 with one scale per column; products stay in float.

    ONNX Runtime's dynamic quantisation would take one activation scale for a whole batch, and then what one stream
    hears depends on who else is speaking.
    """
    model = onnx.load(source)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    products = {
        node.input[1] for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in stored
    }
    for name in sorted(products):
        weights = numpy_helper.to_array(stored[name])
        scales = np.maximum(np.abs(weights).max(axis=0), 1e-9).astype(np.float32) / 127
        values = np.round(weights / scales).astype(np.int8)
        parts = {
            f"{name}_int8": values,
            f"{name}_scale": scales,
            f"{name}_zero": np.zeros(len(scales), np.int8),
        }
        model.graph.initializer.remove(stored[name])
        model.graph.initializer.extend(numpy_helper.from_array(value, part) for part, value in parts.items())
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", list(parts), [name], axis=1))
    onnx.save(model, target)


def export(run: Path, folder: Path) -> None:
    streaming = Streaming(load_network(run)).eval()
    example = (
        torch.zeros(2, BAND_COUNT, WINDOW_FRAMES), torch.full((2,), WINDOW_FRAMES), torch.zeros(2, 1, 1, STATE),
        torch.zeros(2, 1, 1, streaming.tail_count), torch.zeros(2, dtype=torch.long),
    )  # fmt: skip
    names = [*INPUT_NAMES, *OUTPUT_NAMES]
    full_path = run / "model.onnx"
    torch.onnx.export(
        streaming, example, str(full_path), input_names=INPUT_NAMES, output_names=OUTPUT_NAMES, opset_version=14,
        dynamic_axes={name: {0: "streams"} for name in names}, dynamo=False,
    )  # fmt: skip
    add_metadata(full_path, len(SYMBOLS), streaming.tail_count)
    folder.mkdir(parents=True, exist_ok=True)
    quantise_weights(full_path, folder / "model.int8.onnx")
    lines = (f"{symbol} {number}\n" for number, symbol in enumerate(SYMBOLS))
    (folder / "tokens.txt").write_text("".join(lines))
    write_graph(folder)
    print(f"{(folder / 'model.int8.onnx').stat().st_size / 1e6:.2f} MB in int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    export(options.run, options.folder)


if __name__ == "__main__":
    main()
