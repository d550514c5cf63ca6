"""Writes a VITS model of the shape that sherpa-onnx loads, with random weights: it babbles, 16 ms a letter.

For tests of the sherpa-onnx engine where no model may be downloaded.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

SAMPLE_RATE_HZ = 16_000
SAMPLES_A_TOKEN = 256
_CHARACTERS = "_ abcdefghijklmnopqrstuvwxyz.,!?'-"
_METADATA = {
    "model_type": "vits",
    "comment": "coqui",
    "language": "English",
    "frontend": "characters",
    "add_blank": 0,
    "use_eos_bos": 0,
    "bos_id": 0,
    "eos_id": 0,
    "blank_id": 0,
    "pad_id": 0,
    "punctuation": ". , ! ?",
}


def write_tiny_vits(folder: Path, *, speaker_count: int = 1, omit: str = "") -> None:
    """model.onnx and tokens.txt into `folder`. omit: a metadata key left out, which ends a process that loads it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{character} {number}\n" for number, character in enumerate(_CHARACTERS)]
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    random = np.random.default_rng(0)
    weights = {
        "embedding": random.standard_normal((len(_CHARACTERS), 16)),
        "projection": 0.1 * random.standard_normal((16, SAMPLES_A_TOKEN)),
        "nothing": np.zeros(1),
    }
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.INT64, ["N", "L"]),
        helper.make_tensor_value_info("x_length", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speaker_count > 1:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
    # Every input has to reach the output, or it is pruned and the model has too few.
    used = ["length_used", "scales_used"]
    nodes = [
        helper.make_node("Gather", ["embedding", "x"], ["embedded"]),
        helper.make_node("MatMul", ["embedded", "projection"], ["frames"]),
        helper.make_node("Tanh", ["frames"], ["bounded"]),
        helper.make_node("Reshape", ["bounded", "flat"], ["speech"]),
        helper.make_node("Cast", ["x_length"], ["length_used"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["scales"], ["scales_used"], keepdims=1),
    ]
    if speaker_count > 1:
        nodes.append(helper.make_node("Cast", ["sid"], ["speaker_used"], to=TensorProto.FLOAT))
        used.append("speaker_used")
    nodes += [
        helper.make_node("Sum", used, ["all_used"]),
        helper.make_node("Mul", ["all_used", "nothing"], ["silence"]),
        helper.make_node("Add", ["speech", "silence"], ["y"]),
    ]
    initializers = [
        helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.astype(np.float32).tobytes(), raw=True)
        for name, array in weights.items()
    ]
    initializers.append(helper.make_tensor("flat", TensorProto.INT64, [3], [1, 1, -1]))
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "S"])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    metadata = {
        **_METADATA,
        "sample_rate": SAMPLE_RATE_HZ,
        "n_speakers": 0 if speaker_count == 1 else speaker_count,
    }
    for key, value in metadata.items():
        if key != omit:
            model.metadata_props.add(key=key, value=str(value))
    onnx.save(model, folder / "model.onnx")
