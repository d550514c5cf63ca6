"""The sherpa-onnx engine: models that would end the process, sentence streaming."""

from pathlib import Path

import pytest

from parley_servicekit.faults import Fault, FaultCode
from parley_tts.engines.sherpa_model import find_model
from parley_tts.engines.sherpa_voice import SherpaVoiceEngine
from parley_tts.ports import SpeechOptions
from support.tiny_vits import SAMPLE_RATE_HZ, SAMPLES_A_TOKEN, write_tiny_vits


async def test_sentences_come_one_by_one(tmp_path: Path) -> None:
    write_tiny_vits(tmp_path)
    engine = SherpaVoiceEngine(tmp_path)
    await engine.open()
    try:
        stream = engine.open_stream(SpeechOptions())
        assert stream.voice.sample_rate_hz == SAMPLE_RATE_HZ
        pieces = [piece async for piece in stream.speak("good day. how are you? fine thanks.")]
        assert len(pieces) == 3
        assert all(len(piece) % SAMPLES_A_TOKEN == 0 for piece in pieces)  # type: ignore[arg-type]
    finally:
        await engine.close()


@pytest.mark.parametrize("omit", ["sample_rate", "comment", "n_speakers"])
async def test_a_model_that_ends_its_process_is_refused_by_name(tmp_path: Path, omit: str) -> None:
    write_tiny_vits(tmp_path, omit=omit)
    await _expect_unusable(tmp_path)


async def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    write_tiny_vits(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    await _expect_unusable(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        find_model(tmp_path)
    assert caught.value.code is FaultCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (["en.onnx", "espeak-ng-data/phontab"], "vits"),
        (["model.onnx", "voices.bin"], "kokoro"),
        (["kitten.onnx", "voices.bin"], "kitten"),
        (["model-steps-3.onnx", "vocos-22khz.onnx", "lexicon.txt"], "matcha"),
    ],
)
def test_families_are_told_by_their_files(tmp_path: Path, names: list[str], family: str) -> None:
    for name in ["tokens.txt", *names]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_model(tmp_path).family == family


def test_hidden_files_are_no_part_of_a_model(tmp_path: Path) -> None:
    for name in ["tokens.txt", "model.onnx", "date.fst", "._model.onnx", "._vocos-22khz.onnx", "._date.fst"]:
        (tmp_path / name).touch()
    found = find_model(tmp_path)
    assert (found.family, found.files["model"]) == ("vits", str(tmp_path / "model.onnx"))
    assert found.rule_files == str(tmp_path / "date.fst")


def test_a_folder_with_hidden_files_only_is_refused(tmp_path: Path) -> None:
    for name in ["tokens.txt", "._model.onnx"]:
        (tmp_path / name).touch()
    with pytest.raises(Fault) as caught:
        find_model(tmp_path)
    assert caught.value.code is FaultCode.FAILED_PRECONDITION


async def _expect_unusable(folder: Path) -> None:
    engine = SherpaVoiceEngine(folder)
    with pytest.raises(Fault) as caught:
        await engine.open()
    assert caught.value.code is FaultCode.FAILED_PRECONDITION
    await engine.close()
