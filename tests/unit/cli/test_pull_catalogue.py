"""The catalogue that comes along, catalogues of one's own, and which addresses are taken."""

import re
from pathlib import Path

import pytest

from parley_cli.messages import ENGLISH
from parley_cli.pulling.addresses import AddressError, checked, redirected
from parley_cli.pulling.catalogue import Catalogue, Kind, ModelEntry, read_catalogue
from parley_cli.pulling.faults import PullError
from parley_cli.pulling.usage import variables

PULLING = Path(__file__).parents[3] / "clients" / "cli" / "src" / "parley_cli"
GOOD = """
[[models]]
name = "model"
kind = "asr"
url = "https://models.example/model.tar.bz2"
size_bytes = 100
unpacked_bytes = 200
licence = "MIT"
languages = ["zh", "en"]
"""


def own(tmp_path: Path, text: str) -> Catalogue:
    file = tmp_path / "own.toml"
    file.write_text(text)
    return read_catalogue(file, "")


def test_the_default_models_are_one_of_each_kind() -> None:
    kinds = sorted(entry.kind for entry in read_catalogue(None, "").chosen([]))
    assert kinds == ["asr", "ollama", "tts", "vad"]


def test_the_default_recogniser_and_voice_speak_chinese_and_english() -> None:
    entries = [entry for entry in read_catalogue(None, "").chosen([]) if entry.kind in (Kind.ASR, Kind.TTS)]
    assert [set(entry.languages) for entry in entries] == [{"zh", "en"}] * 2


def test_every_shipped_address_is_https_and_every_model_has_a_licence() -> None:
    for entry in read_catalogue(None, "").models:
        assert entry.licence
        assert entry.kind is Kind.OLLAMA or checked(entry.url).scheme == "https"


def test_models_are_chosen_by_name_once_each() -> None:
    catalogue = read_catalogue(None, "")
    names = [entry.name for entry in catalogue.chosen(["melo-zh-en", "silero-vad", "melo-zh-en"])]
    assert names == ["melo-zh-en", "silero-vad"]
    with pytest.raises(PullError, match="unknown_model"):
        catalogue.chosen(["nothing"])


def test_another_ollama_model_takes_the_default_ones_place() -> None:
    catalogue = read_catalogue(None, "qwen3:4b")
    assert [entry.name for entry in catalogue.chosen([]) if entry.kind is Kind.OLLAMA] == ["qwen3:4b"]
    assert catalogue.chosen(["qwen3:4b"])[0].licence == "see ollama.com/library/qwen3"
    assert read_catalogue(None, "gemma3:1b") == read_catalogue(None, "")


@pytest.mark.parametrize("name", ["a b", "../x", "-x", "x" * 300, "名"])
def test_an_ollama_model_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(PullError, match="bad_ollama_model"):
        read_catalogue(None, name)


def test_a_catalogue_of_ones_own_is_read(tmp_path: Path) -> None:
    (entry,) = own(tmp_path, GOOD).models
    assert (entry.is_archive, entry.download_max_bytes, entry.unpacked_max_bytes) == (True, 150, 300)


@pytest.mark.parametrize(
    ("found", "put"),
    [
        ('"model"', '"../model"'),
        ('"model"', '"Model"'),
        ('"asr"', '"voice"'),
        ("https://models.example", "http://models.example"),
        ("https://models.example", "https://me:it@models.example"),
        ("/model.tar.bz2", "/"),
        ("/model.tar.bz2", "/.."),
        ("size_bytes = 100", "size_bytes = 0"),
        ("size_bytes = 100", "size_bytes = 1000000000000"),
        ("unpacked_bytes = 200", ""),
        ("model.tar.bz2", "model.onnx"),
        ('licence = "MIT"', ""),
        ('licence = "MIT"', 'licence = "MIT"\nsha256 = "beef"'),
        ('licence = "MIT"', 'licence = "MIT"\nsha265 = ""'),
        ('licence = "MIT"', 'licence = "MIT"\nfiles = [{path = "../tokens.txt"}]'),
        ('licence = "MIT"', 'licence = "MIT"\nfiles = [{path = "/etc/passwd"}]'),
        ("[[models]]", "[[models]"),
        ("[[models]]", "[[modules]]"),
        (GOOD, GOOD + GOOD),
        (GOOD, ""),
    ],
)
def test_a_catalogue_with_a_mistake_is_refused(tmp_path: Path, found: str, put: str) -> None:
    assert found in GOOD
    with pytest.raises(PullError, match="bad_catalogue") as raised:
        own(tmp_path, GOOD.replace(found, put))
    assert "own.toml" in raised.value.words
    assert raised.value.exit_code == 2


def test_a_catalogue_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PullError, match="bad_catalogue"):
        read_catalogue(tmp_path / "missing.toml", "")
    (tmp_path / "huge.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(PullError, match="bad_catalogue"):
        read_catalogue(tmp_path / "huge.toml", "")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PullError, match="bad_catalogue"):
        read_catalogue(tmp_path / "binary.toml", "")


@pytest.mark.parametrize(
    "url", ["https://models.example/a", "http://127.0.0.1:8000/a", "http://localhost/a", "http://[::1]:80/a"]
)
def test_safe_addresses_are_taken(url: str) -> None:
    assert checked(url).geturl() == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "models.example/a",
        "http://models.example/a",
        "http://127.0.0.1.models.example/a",
        "http://127.0.0.1@models.example/a",
        "https://me@models.example/a",
        "https:///a",
        "https://models.example:99999/a",
        "https://models.example/a b",
        "https://models.example/a\r\nHost: x",
        "https://müller.example/a",
        "file:///etc/passwd",
        "https://models.example/" + "a" * 5000,
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(AddressError):
        checked(url)


def test_redirects_never_become_less_safe() -> None:
    assert redirected("https://a.example/x", "/y") == "https://a.example/y"
    assert redirected("https://a.example/x", "https://b.example/y?z=1") == "https://b.example/y?z=1"
    assert redirected("http://127.0.0.1:1/x", "https://b.example/y") == "https://b.example/y"
    for location in ("http://a.example/x", "http://127.0.0.1/x", "//a.example:0x/", "ftp://a.example/"):
        with pytest.raises(AddressError):
            redirected("https://a.example/x", location)


def test_each_kind_says_which_variables_use_it() -> None:
    catalogue = read_catalogue(None, "")
    place = Path("/models/m")

    def told(name: str) -> dict[str, str]:
        return variables(catalogue.chosen([name])[0], place)

    assert told("silero-vad") == {"PARLEY_ASR_VAD_MODEL_FILE": "/models/m/silero_vad.onnx"}
    assert told("zipformer-zh-en")["PARLEY_ASR_MODEL_LANGUAGES"] == "zh,en"
    assert told("melo-zh-en")["PARLEY_TTS_MODEL_LANGUAGE"] == "zh"
    assert told("gemma3:1b") == {"PARLEY_LLM_ENGINE": "ollama", "PARLEY_LLM_MODEL": "gemma3:1b"}


def test_ollama_entries_have_neither_address_nor_folder() -> None:
    with pytest.raises(ValueError, match="addresses"):
        ModelEntry(name="a:1b", kind=Kind.OLLAMA, url="https://a.example/b", licence="MIT")


def test_every_failure_has_words() -> None:
    code = "\n".join(path.read_text() for path in (PULLING / "pulling").glob("*.py"))
    raised = set(re.findall(r'(?:PullError|_CutError)\(\s*"([a-z_]+)"', code))
    assert len(raised) > 25
    assert {f"pull_{reason}" for reason in raised} <= ENGLISH.keys()


def test_every_line_about_pulling_is_used() -> None:
    sources = [path for path in PULLING.rglob("*.py") if not path.name.startswith("messages_")]
    words = set(re.findall(r"""["']([a-z_]+)["']""", "\n".join(path.read_text() for path in sources)))
    keys = {key for key in ENGLISH if key.startswith("pull_")}
    assert not {key for key in keys if not {key, key.removeprefix("pull_")} & words}
