"""A "recogniser" whose transcript is the features themselves: ``python -m training.asr.feature_probe FOLDER``.

Shows which features sherpa-onnx really computes for streaming NeMo CTC models. The graph rounds each of a chunk's
16 x 80 values to a level of 0.02 and emits one token for it, from two alternating sets so that equal neighbours do
not merge. ``tests/quality/test_recognition_model.py`` decodes the committed probe and compares with ``features``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LOWEST, LEVEL, LEVEL_COUNT = -17.0, 0.02, 1_400
SHIFT_FRAMES, BAND_COUNT = 16, 80
VALUES_PER_CHUNK = SHIFT_FRAMES * BAND_COUNT


def graph() -> onnx.GraphProto:
    """Inputs and outputs in the order that sherpa-onnx expects; every cache is a single number."""
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Slice", ["audio_signal", "zero", "sixteen", "time_axis"], ["chunk"]),
        node("Transpose", ["chunk"], ["frames"], perm=[0, 2, 1]),
        node("Reshape", ["frames", "flat_shape"], ["values"]),
        node("Sub", ["values", "lowest"], ["above"]),
        node("Div", ["above", "level"], ["exact"]),
        node("Round", ["exact"], ["rounded"]),
        node("Add", ["rounded", "token_set"], ["token"]),
        node("Cast", ["token"], ["number"], to=TensorProto.INT64),
        node("OneHot", ["number", "token_count", "off_on"], ["log_probabilities"], axis=-1),
        *(node("Identity", [f"cache_{name}"], [f"next_{name}"]) for name in ("channel", "time", "len")),
        node("Identity", ["length"], ["encoded_length"]),
    ]
    alternating = (np.arange(VALUES_PER_CHUNK) % 2) * LEVEL_COUNT + 1
    constants = {
        "zero": np.array([0]),
        "sixteen": np.array([SHIFT_FRAMES]),
        "time_axis": np.array([2]),
        "flat_shape": np.array([-1, VALUES_PER_CHUNK]),
        "lowest": np.float32(LOWEST),
        "level": np.float32(LEVEL),
        "token_set": alternating.astype(np.float32)[None],
        "token_count": np.int64(2 * LEVEL_COUNT + 1),
        "off_on": np.array([-10, 0], np.float32),
    }
    number, whole = TensorProto.FLOAT, TensorProto.INT64
    cache: list[str | int | None] = ["N", 1, 1, 1]
    inputs = [
        info("audio_signal", number, ["N", BAND_COUNT, "T"]), info("length", whole, ["N"]),
        info("cache_channel", number, cache), info("cache_time", number, cache), info("cache_len", whole, ["N"]),
    ]  # fmt: skip
    outputs = [
        info("log_probabilities", number, ["N", VALUES_PER_CHUNK, 2 * LEVEL_COUNT + 1]),
        info("encoded_length", whole, ["N"]),
        info("next_channel", number, cache), info("next_time", number, cache), info("next_len", whole, ["N"]),
    ]  # fmt: skip
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return helper.make_graph(nodes, "feature_probe", inputs, outputs, initializers)


def write(folder: Path) -> None:
    """``feature_probe.onnx`` and ``feature_probe_tokens.txt``; token ``vK`` stands for the value -17 + 0.02 K."""
    model = helper.make_model(graph(), opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    metadata = {"window_size": 20, "chunk_shift": 16, "subsampling_factor": 4, "vocab_size": 2 * LEVEL_COUNT}
    metadata |= {f"cache_last_{cache}_dim{axis}": 1 for cache in ("channel", "time") for axis in (1, 2, 3)}
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=str(value))
    onnx.save(model, folder / "feature_probe.onnx")
    tokens = ["<blk> 0", *(f"v{index % LEVEL_COUNT} {index + 1}" for index in range(2 * LEVEL_COUNT))]
    (folder / "feature_probe_tokens.txt").write_text("\n".join(tokens) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
