"""The parts of the sherpa-onnx adapter that need no model: words, folders, metadata, scripts, settings."""

import contextlib
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.asr.hearing import RecordingEngine, RecordingStream, silence

from parley_asr.engines.graph_recognizer import read_lexicon
from parley_asr.engines.model_folder import Family, find_model
from parley_asr.engines.onnx_metadata import OnnxFormatError, read_onnx_metadata
from parley_asr.engines.scripted import read_script
from parley_asr.engines.sherpa_streaming import words_of
from parley_asr.ports import TimedWord
from parley_asr.settings import EMBEDDED_MODEL_FOLDER, Settings
from parley_asr.utterance import Utterance
from parley_servicekit.faults import Fault, FaultCode
from parley_servicekit.settings import SettingsError, read_settings


def texts(tokens: list[str]) -> list[str]:
    return [word.text for word in words_of(tokens, [index * 0.1 for index in range(len(tokens))])]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([], []),
        ([" hello", " there"], ["hello", "there"]),
        (["▁hel", "lo", "▁there"], ["hello", "there"]),
        (["h", "i", " ", "y", "o", "u"], ["hi", "you"]),
        (["你", "好"], ["你", "好"]),
        (["▁hello", "你", "好", "▁you"], ["hello", "你", "好", "you"]),
    ],
)
def test_tokens_are_joined_to_words(tokens: list[str], words: list[str]) -> None:
    assert texts(tokens) == words


def test_a_word_lasts_until_the_next_but_at_most_a_second() -> None:
    assert words_of([" a", "b", " c", " d"], [0.0, 0.2, 0.5, 4.0]) == (
        TimedWord("ab", 0, 8_000),
        TimedWord("c", 8_000, 24_000),
        TimedWord("d", 64_000, 67_200),
    )


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def test_metadata_is_read_around_a_large_graph(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    entry = field(1, b"vocab_size") + field(2, "größe 7".encode())
    path.write_bytes(b"\x08\x08" + field(7, bytes(100_000)) + field(14, entry) + field(2, b"maker"))
    assert read_onnx_metadata(path) == {"vocab_size": "größe 7"}


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(data)
    with contextlib.suppress(OnnxFormatError):
        assert isinstance(read_onnx_metadata(path), dict)


def folder_of(folder: Path, *names: str) -> Path:
    (folder / "tokens.txt").write_text("<blk> 0\na 1\n")
    for name in names:
        (folder / name).write_bytes(b"\x08\x08")
    return folder


@pytest.mark.parametrize(("provider", "kind"), [("cpu", ".int8"), ("cuda", "")])
def test_int8_networks_are_preferred_where_they_are_faster(tmp_path: Path, provider: str, kind: str) -> None:
    roles = ("encoder", "decoder", "joiner")
    names = [f"{role}-epoch-99{each}.onnx" for role in roles for each in ("", ".int8")]
    files = find_model(folder_of(tmp_path, *names), provider)
    assert files.family is Family.TRANSDUCER
    assert {role: path.name for role, path in files.networks.items()} == {
        role: f"{role}-epoch-99{kind}.onnx" for role in roles
    }


def test_networks_of_the_other_kind_do_where_there_are_no_others(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "encoder.onnx", "decoder.int8.onnx")
    for provider in ("cpu", "cuda"):
        networks = find_model(folder, provider).networks
        assert {path.name for path in networks.values()} == {"encoder.onnx", "decoder.int8.onnx"}


def test_hidden_files_are_no_networks(tmp_path: Path) -> None:
    names = ["encoder.onnx", "decoder.onnx"]
    files = find_model(folder_of(tmp_path, *names, *[f"._{name}" for name in [*names, "joiner.onnx"]]))
    assert files.family is Family.PARAFORMER
    assert sorted(path.name for path in files.networks.values()) == sorted(names)


def test_an_encoder_and_a_decoder_are_a_paraformer_and_a_detector_is_no_recogniser(tmp_path: Path) -> None:
    files = find_model(folder_of(tmp_path, "encoder.int8.onnx", "decoder.int8.onnx", "silero_vad.onnx"))
    assert files.family is Family.PARAFORMER
    assert sorted(files.networks) == ["decoder", "encoder"]
    assert files.tail_ms >= 660


def test_a_single_network_without_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="neither a streaming NeMo CTC nor a zipformer2 CTC"):
        find_model(folder_of(tmp_path, "model.onnx"))


@pytest.mark.parametrize(("present", "missing"), [("graph.fst", "lexicon.txt"), ("lexicon.txt", "graph.fst")])
def test_a_graph_and_its_lexicon_come_together(tmp_path: Path, present: str, missing: str) -> None:
    folder = folder_of(tmp_path, present)
    shutil.copy(EMBEDDED_MODEL_FOLDER / "model.int8.onnx", folder)
    with pytest.raises(Fault, match=f"holds {present} but no {missing}"):
        find_model(folder)


def test_a_lexicon_tells_what_each_way_writes_and_how_many_sounds_it_has(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_text("<eps>\n▁to t u\n▁to t @\n▁a eI\nsh S\n")
    assert read_lexicon(path) == (["<eps>", "▁to", "▁to", "▁a", "sh"], [0, 2, 2, 1, 1])


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("{", "the file"),
        ("{}", "utterances"),
        ('{"utterances": []}', "utterances"),
        ('{"utterances": [{"txt": "a"}]}', "utterances.0.txt"),
        ('{"utterances": [{}], "word_ms": 0}', "word_ms"),
    ],
)
def test_a_wrong_script_is_refused_by_place(tmp_path: Path, script: str, said: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(script)
    with pytest.raises(Fault) as refused:
        read_script(path)
    assert refused.value.code is FaultCode.FAILED_PRECONDITION and said in refused.value.message


def test_the_defaults_are_the_embedded_engine_on_its_own_ports() -> None:
    settings = read_settings(Settings)
    assert (settings.engine, settings.port, settings.metrics_port) == ("embedded", 50051, 9465)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_STREAMS", "0"),
        ("NUM_THREADS", "x"),
        ("UTTERANCE_MAX_MS", "10"),
        ("RECORDING_MAX_BYTES", str(1 << 30)),
    ],
)
def test_settings_out_of_bounds_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"PARLEY_ASR_{name}", value)
    with pytest.raises(SettingsError, match=f"PARLEY_ASR_{name}"):
        read_settings(Settings)


def test_times_are_mapped_back_over_what_the_recogniser_did_not_hear() -> None:
    utterance = Utterance(0, RecordingStream(RecordingEngine(), 0), 1000)
    utterance.append(silence(100), 1000)  # 1600 samples
    utterance.append(silence(100), 2600)
    utterance.append(silence(100), 50_000)
    words = tuple(TimedWord("w", at, at + 10) for at in (0, 3000, 3250))
    placed = [word.start_sample for word in utterance.placed(words)]
    assert placed == [1000, 4000, 50_050]
    assert len(utterance.take_pending()) == 4800 and len(utterance.take_pending()) == 0
