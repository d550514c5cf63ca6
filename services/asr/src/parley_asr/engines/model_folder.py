"""Which streaming model lies in a folder: its family and files, found by names and ONNX metadata.

Used by `sherpa_streaming`. sherpa-onnx ends the process where a required file, metadata key or symbol is
missing, so what can be seen from outside is checked here, in one line for the operator.
"""

import enum
from dataclasses import dataclass
from pathlib import Path

from parley_asr import faults
from parley_asr.engines.onnx_metadata import OnnxFormatError, read_onnx_metadata

_TEXT_MAX_BYTES = 16 << 20
_BLANKS = ("<blk>", "<eps>", "<blank>")
_NEMO_KEYS = frozenset(
    ["window_size", "chunk_shift", "subsampling_factor", "vocab_size"]
    + [f"cache_last_{kind}_dim{index}" for kind in ("channel", "time") for index in (1, 2, 3)]
)
_ZIPFORMER2_KEYS = frozenset(["encoder_dims", "num_encoder_layers", "T", "decode_chunk_len"])
# Silence that flushes a model whose window is not known; the longest common one is 1.04 s.
_UNKNOWN_WINDOW_MS = 1100
_TAIL_MIN_MS = 660
_TAIL_MARGIN_MS = 300


class Family(enum.Enum):
    """Which factory of `sherpa_onnx.OnlineRecognizer` loads it."""

    NEMO_CTC = "NeMo CTC"
    ZIPFORMER2_CTC = "zipformer2 CTC"
    TRANSDUCER = "transducer"
    PARAFORMER = "paraformer"


@dataclass(frozen=True)
class ModelFiles:
    """A streaming model on disk. `networks` by role: model, or encoder, decoder and (transducer) joiner.

    graph, lexicon: of a CTC model of sounds, else None.
    tail_ms: how much silence after the last sample makes the model decode that sample.
    """

    family: Family
    tokens: Path
    networks: dict[str, Path]
    tail_ms: int
    graph: Path | None = None
    lexicon: Path | None = None

    @property
    def size_bytes(self) -> int:
        """On disk, together."""
        files = [self.tokens, self.graph, self.lexicon, *self.networks.values()]
        return sum(path.stat().st_size for path in files if path is not None)


def find_model(folder: Path, provider: str = "cpu") -> ModelFiles:
    """The model in `folder`. Raises Fault (FAILED_PRECONDITION) saying what is missing.

    provider: `cpu`, or `cuda`: then networks that are not int8 are preferred, else those that are.
    """
    tokens = folder / "tokens.txt"
    if not tokens.is_file():
        raise faults.unusable_model(f"{folder.name} holds no tokens.txt")
    networks = _networks(folder, provider)
    if "encoder" in networks and "decoder" in networks:
        family = Family.TRANSDUCER if "joiner" in networks else Family.PARAFORMER
        metadata = _metadata(networks["encoder"])
    elif "model" in networks:
        networks = {"model": networks["model"]}
        metadata = _metadata(networks["model"])
        family = _ctc_family(networks["model"], metadata)
        _require_blank(tokens)
    else:
        raise faults.unusable_model(
            f"{folder.name} holds neither a model .onnx nor an encoder and a decoder .onnx"
        )
    graph, lexicon = _graph(folder) if family is Family.NEMO_CTC else (None, None)
    return ModelFiles(family, tokens, networks, _tail_ms(metadata), graph, lexicon)


def _networks(folder: Path, provider: str) -> dict[str, Path]:
    """The .onnx files by role; of several for one role one of the preferred kind, of these the first by name."""
    # ONNX Runtime has no int8 kernels for CUDA: it computes those nodes on the CPU and copies to and fro.
    prefers_int8 = provider != "cuda"
    networks: dict[str, Path] = {}
    for path in sorted(
        folder.glob("*.onnx"), key=lambda path: (("int8" in path.name) != prefers_int8, path.name)
    ):
        if "vad" in path.name or path.name.startswith("."):
            continue
        role = next((role for role in ("encoder", "decoder", "joiner") if role in path.name), "model")
        networks.setdefault(role, path)
    return networks


def _graph(folder: Path) -> tuple[Path | None, Path | None]:
    graph, lexicon = folder / "graph.fst", folder / "lexicon.txt"
    if graph.is_file() != lexicon.is_file():
        present, missing = (graph, lexicon) if graph.is_file() else (lexicon, graph)
        raise faults.unusable_model(f"{folder.name} holds {present.name} but no {missing.name}")
    if not graph.is_file():
        return None, None
    _require_size(lexicon)
    return graph, lexicon


def _require_size(text: Path) -> None:
    if text.stat().st_size > _TEXT_MAX_BYTES:
        raise faults.unusable_model(f"{text.name} is larger than {_TEXT_MAX_BYTES} bytes")


def _metadata(path: Path) -> dict[str, str]:
    try:
        return read_onnx_metadata(path)
    except OnnxFormatError as error:
        raise faults.unusable_model(f"{path.name} is not an ONNX model: {error}") from None
    except OSError as error:
        raise faults.unusable_model(f"{path.name} cannot be read: {error.strerror}") from None


def _ctc_family(path: Path, metadata: dict[str, str]) -> Family:
    if metadata.keys() >= _NEMO_KEYS:
        return Family.NEMO_CTC
    if metadata.keys() >= _ZIPFORMER2_KEYS:
        return Family.ZIPFORMER2_CTC
    if metadata.keys() & (_NEMO_KEYS - {"vocab_size", "subsampling_factor"}):
        missing = sorted(_NEMO_KEYS - metadata.keys())
        raise faults.unusable_model(f"{path.name} lacks the metadata {', '.join(missing)}")
    raise faults.unusable_model(f"{path.name} is neither a streaming NeMo CTC nor a zipformer2 CTC model")


def _require_blank(tokens: Path) -> None:
    _require_size(tokens)
    lines = tokens.read_text(encoding="utf-8", errors="replace").splitlines()
    if not any(line.startswith(tuple(f"{blank} " for blank in _BLANKS)) for line in lines):
        raise faults.unusable_model(f"{tokens.name} holds none of {', '.join(_BLANKS)}")


def _tail_ms(metadata: dict[str, str]) -> int:
    frames = metadata.get("window_size") or metadata.get("T") or ""
    window_ms = int(frames) * 10 if frames.isdecimal() else _UNKNOWN_WINDOW_MS
    return max(_TAIL_MIN_MS, window_ms + _TAIL_MARGIN_MS)
