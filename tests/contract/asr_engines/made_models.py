"""Tiny ONNX models made on the spot, in the exact shapes that sherpa-onnx demands: CTC, transducer, voice activity.

The recognisers have random weights and say nonsense, always the same for the same audio; the detector measures
loudness. They let every adapter run for real without any model file. Shapes: NeMo CTC and LSTM transducer as
sherpa-onnx's streaming models have them, Silero v5 for voice activity.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURE_COUNT, WINDOW_FRAMES, SHIFT_FRAMES, SUBSAMPLING = 80, 20, 16, 4
WORDS = ["one", "two", "three", "four", "five", "six", "seven"]
_FLOAT, _INT64 = TensorProto.FLOAT, TensorProto.INT64
_OUT_FRAMES = SHIFT_FRAMES // SUBSAMPLING


def make_ctc(folder: Path, *, leave_out: tuple[str, ...] = (), blank: str = "<blk>") -> Path:
    """A NeMo CTC model with the blank first. `leave_out`: metadata keys that it lacks."""
    weights = _random((SUBSAMPLING * FEATURE_COUNT, len(WORDS) + 1), 0)
    cache = ["N", 1, 1, 1]
    nodes = [
        _node("Slice", ["audio_signal", "from", "to", "axis_2"], ["cut"]),
        helper.make_node("Transpose", ["cut"], ["frames"], perm=[0, 2, 1]),
        *_classify("frames", "log_probs"),
        _node("Identity", ["length"], ["encoded_len"]),
        _node("Identity", ["cache_last_channel"], ["next_channel"]),
        _node("Identity", ["cache_last_time"], ["next_time"]),
        _node("Identity", ["cache_last_channel_len"], ["next_channel_len"]),
    ]
    inputs = [
        _tensor("audio_signal", ["N", FEATURE_COUNT, "T"]),
        _tensor("length", ["N"], _INT64),
        _tensor("cache_last_channel", cache),
        _tensor("cache_last_time", cache),
        _tensor("cache_last_channel_len", ["N"], _INT64),
    ]
    outputs = [
        _tensor("log_probs", ["N", _OUT_FRAMES, len(WORDS) + 1]),
        _tensor("encoded_len", ["N"], _INT64),
        _tensor("next_channel", cache),
        _tensor("next_time", cache),
        _tensor("next_channel_len", ["N"], _INT64),
    ]
    metadata = {
        "window_size": WINDOW_FRAMES,
        "chunk_shift": SHIFT_FRAMES,
        "subsampling_factor": SUBSAMPLING,
        "vocab_size": len(WORDS),
        **{f"cache_last_{kind}_dim{index}": 1 for kind in ("channel", "time") for index in (1, 2, 3)},
    }
    kept = {key: value for key, value in metadata.items() if key not in leave_out}
    constants = {**_constants(axis=2), "weights": weights}
    _save(folder / "model.onnx", nodes, inputs, outputs, constants, kept)
    return _write_tokens(folder, [blank, *(f"▁{word}" for word in WORDS)])


def make_transducer(folder: Path) -> Path:
    """An LSTM transducer, whose states go through unchanged."""
    width, vocabulary_size, context = 16, len(WORDS) + 1, 2
    state = [1, "N", 1]
    encoder_nodes = [
        _node("Slice", ["x", "from", "to", "axis_1"], ["frames"]),
        *_classify("frames", "encoder_out"),
        _node("Identity", ["h"], ["next_h"]),
        _node("Identity", ["c"], ["next_c"]),
    ]
    _save(
        folder / "encoder.onnx",
        encoder_nodes,
        [_tensor("x", ["N", "T", FEATURE_COUNT]), _tensor("h", state), _tensor("c", state)],
        [
            _tensor("encoder_out", ["N", _OUT_FRAMES, width]),
            _tensor("next_h", state),
            _tensor("next_c", state),
        ],
        {**_constants(axis=1), "weights": _random((SUBSAMPLING * FEATURE_COUNT, width), 1)},
        {
            "model_type": "lstm",
            "num_encoder_layers": 1,
            "T": WINDOW_FRAMES,
            "decode_chunk_len": SHIFT_FRAMES,
            "rnn_hidden_size": 1,
            "d_model": 1,
        },
    )
    _save(
        folder / "decoder.onnx",
        [
            _node("Gather", ["embedding", "y"], ["embedded"]),
            helper.make_node("ReduceMean", ["embedded"], ["decoder_out"], axes=[1], keepdims=0),
        ],
        [_tensor("y", ["N", context], _INT64)],
        [_tensor("decoder_out", ["N", width])],
        {"embedding": _random((vocabulary_size, width), 2)},
        {"vocab_size": vocabulary_size, "context_size": context},
    )
    _save(
        folder / "joiner.onnx",
        [
            _node("Add", ["encoder_out", "decoder_out"], ["sum"]),
            _node("Tanh", ["sum"], ["squashed"]),
            _node("MatMul", ["squashed", "to_tokens"], ["logit"]),
        ],
        [_tensor("encoder_out", ["N", width]), _tensor("decoder_out", ["N", width])],
        [_tensor("logit", ["N", vocabulary_size])],
        {"to_tokens": _random((width, vocabulary_size), 3)},
        {},
    )
    return _write_tokens(folder, ["<blk>", *(f"▁{word}" for word in WORDS)])


def make_voice_activity_model(path: Path) -> Path:
    """A Silero v5 shaped model: the probability of speech is twice the largest sample, at most 1."""
    nodes = [
        _node("Abs", ["input"], ["absolute"]),
        helper.make_node("ReduceMax", ["absolute"], ["largest"], axes=[1], keepdims=1),
        _node("Mul", ["largest", "two"], ["scaled"]),
        _node("Min", ["scaled", "one"], ["output"]),
        _node("Identity", ["state"], ["stateN"]),
    ]
    state = [2, "N", 128]
    _save(
        path,
        nodes,
        [_tensor("input", ["N", 576]), _tensor("state", state), _tensor("sr", [], _INT64)],
        [_tensor("output", ["N", 1]), _tensor("stateN", state)],
        {"one": np.float32(1), "two": np.float32(2)},
        {},
    )
    return path


def _classify(frames: str, output: str) -> list[onnx.NodeProto]:
    """(N, 16, 80) frames to (N, 4, classes), by random projections of four frames each."""
    return [
        _node("Reshape", [frames, "grouped"], [f"{output}_groups"]),
        _node("MatMul", [f"{output}_groups", "weights"], [output]),
    ]


def _constants(axis: int) -> dict[str, object]:
    return {
        "from": np.array([0]),
        "to": np.array([SHIFT_FRAMES]),
        f"axis_{axis}": np.array([axis]),
        "grouped": np.array([-1, _OUT_FRAMES, SUBSAMPLING * FEATURE_COUNT]),
    }


def _random(shape: tuple[int, int], seed: int) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(shape) / 10).astype(np.float32)


def _node(operation: str, inputs: list[str], outputs: list[str]) -> onnx.NodeProto:
    return helper.make_node(operation, inputs, outputs)


def _tensor(name: str, shape: Sequence[Any], kind: int = _FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: Mapping[str, object],
    metadata: Mapping[str, object],
) -> None:
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    onnx.save(model, str(path))


def _write_tokens(folder: Path, tokens: list[str]) -> Path:
    lines = [f"{token} {index}" for index, token in enumerate(tokens)]
    (folder / "tokens.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
