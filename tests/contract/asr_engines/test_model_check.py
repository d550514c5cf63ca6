"""Models that cannot be served are refused in one line, also those on which the library ends the process."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from contract.asr_engines.made_models import make_ctc, make_transducer, make_voice_activity_model

from parley_asr.engines.sherpa_streaming import SherpaOptions, require_provider
from parley_asr.model_check import check_models
from parley_asr.settings import EMBEDDED_MODEL_FOLDER, EMBEDDED_VAD_MODEL_FILE
from parley_servicekit.faults import Fault, FaultCode

TIMEOUT_MS = 60_000


async def reason_for(folder: Path, vad_model_file: Path | None = None, timeout_ms: int = TIMEOUT_MS) -> str:
    vad_model_file = vad_model_file or make_voice_activity_model(folder / "made-vad.onnx")
    with pytest.raises(Fault) as refused:
        await check_models(SherpaOptions(folder), vad_model_file, timeout_ms)
    assert refused.value.code is FaultCode.FAILED_PRECONDITION
    assert "\n" not in refused.value.message
    assert str(folder) not in refused.value.message
    return refused.value.message


@pytest.mark.parametrize("make", [make_ctc, make_transducer])
async def test_a_good_model_passes(make: object, tmp_path: Path) -> None:
    assert callable(make)
    vad_model_file = make_voice_activity_model(tmp_path / "made-vad.onnx")
    await check_models(SherpaOptions(make(tmp_path)), vad_model_file, TIMEOUT_MS)


async def test_an_empty_folder(tmp_path: Path) -> None:
    assert "no tokens.txt" in await reason_for(tmp_path)


async def test_tokens_without_networks(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("<blk> 0\n")
    assert "neither a model" in await reason_for(tmp_path)


async def test_missing_metadata(tmp_path: Path) -> None:
    assert "lacks the metadata chunk_shift" in await reason_for(
        make_ctc(tmp_path, leave_out=("chunk_shift",))
    )


async def test_no_blank_symbol(tmp_path: Path) -> None:
    assert "holds none of <blk>" in await reason_for(make_ctc(tmp_path, blank="▁zero"))


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"x" * 1000])
async def test_a_file_that_is_no_model(content: bytes, tmp_path: Path) -> None:
    make_ctc(tmp_path)
    (tmp_path / "model.onnx").write_bytes(content)
    assert "model.onnx" in await reason_for(tmp_path)


async def test_a_model_that_is_cut_off(tmp_path: Path) -> None:
    make_ctc(tmp_path)
    whole = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole[: len(whole) // 2])
    assert "model.onnx is not an ONNX model" in await reason_for(tmp_path)


async def test_a_model_on_which_the_library_ends_the_process(tmp_path: Path) -> None:
    """A transducer's decoder without its metadata: nothing in Python catches that exit."""
    make_transducer(tmp_path)
    decoder = onnx.load(str(tmp_path / "decoder.onnx"))
    del decoder.metadata_props[:]
    onnx.save(decoder, str(tmp_path / "decoder.onnx"))
    reason = await reason_for(tmp_path)
    assert "ended the process that tried it (exit code 255)" in reason
    assert "vocab_size" in reason


@pytest.mark.parametrize("size_bytes", [0, 100, 1_000_000])
async def test_a_decoding_graph_that_is_cut_off(size_bytes: int, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(EMBEDDED_MODEL_FOLDER, folder)
    whole = (folder / "graph.fst").read_bytes()
    (folder / "graph.fst").write_bytes(whole[:size_bytes])
    assert "cut" in await reason_for(folder, EMBEDDED_VAD_MODEL_FILE)


async def test_a_voice_activity_model_of_another_kind(tmp_path: Path) -> None:
    make_ctc(tmp_path)
    assert await reason_for(tmp_path, tmp_path / "model.onnx")


async def test_a_voice_activity_model_that_is_missing(tmp_path: Path) -> None:
    make_ctc(tmp_path)
    assert "nothing.onnx is missing" in await reason_for(tmp_path, tmp_path / "nothing.onnx")


async def test_a_load_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    assert "took longer than 1 ms" in await reason_for(make_ctc(tmp_path), timeout_ms=1)


def test_cuda_without_its_wheel_is_refused_instead_of_silently_ignored() -> None:
    with pytest.raises(Fault, match="CUDA wheel"):
        require_provider("cuda")


def test_the_made_models_are_valid_onnx(tmp_path: Path) -> None:
    make_transducer(make_ctc(tmp_path))
    make_voice_activity_model(tmp_path / "vad.onnx")
    for path in tmp_path.glob("*.onnx"):
        onnx.checker.check_model(str(path))
    assert np.float32(1) == 1
