"""`parley models pull` as people and containers run it: what it prints, what it leaves, how it exits."""

import asyncio
import json
import os
import re
import resource
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from integration.cli.command import NOWHERE, Run, command_environment, runner

from parley_asr.engines import model_folder as asr_model_folder
from parley_asr.settings import EMBEDDED_MODEL_FOLDER
from parley_asr.settings import Settings as AsrSettings
from parley_llm.settings import Settings as LlmSettings
from parley_servicekit.settings import read_settings
from parley_tts.engines import sherpa_model as tts_model
from parley_tts.settings import Settings as TtsSettings
from support.fake_model_host import FakeModelHost, FakeOllama, packed, running_host, running_ollama
from support.tiny_vits import write_tiny_vits

CONTENT = bytes(range(256)) * 4_000
MODEL = {"tokens.txt": b"<blk> 0\n", "model.onnx": CONTENT}
NOWHERE_URL = "http://127.0.0.1:1"
SETTINGS = ("PARLEY_ASR_", "PARLEY_TTS_", "PARLEY_LLM_")


@pytest_asyncio.fixture
async def host() -> AsyncIterator[FakeModelHost]:
    async with running_host() as host:
        host.files = {
            "/vad.onnx": CONTENT,
            "/zh-en.tar.bz2": packed(MODEL),
            "/voice.tar.gz": packed(MODEL, form="gz"),
        }
        yield host


@pytest_asyncio.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with running_ollama() as ollama:
        yield ollama


@pytest.fixture
def catalogue(host: FakeModelHost, tmp_path: Path) -> Path:
    archive = f"size_bytes = {len(CONTENT)}\nunpacked_bytes = {len(CONTENT)}"
    entries = [
        ("vad", "vad", f'url = "{host.url}/vad.onnx"\nsize_bytes = {len(CONTENT)}'),
        ("zh-en", "asr", f'url = "{host.url}/zh-en.tar.bz2"\n{archive}\nlanguages = ["zh", "en"]'),
        ("voice", "tts", f'url = "{host.url}/voice.tar.gz"\n{archive}\nlanguages = ["zh"]'),
        ("chat:1b", "ollama", ""),
    ]
    file = tmp_path / "catalogue.toml"
    file.write_text(
        "".join(
            f'[[models]]\nname = "{name}"\nkind = "{kind}"\nis_default = true\nlicence = "MIT"\n{rest}\n'
            for name, kind, rest in entries
        )
    )
    return file


@pytest.fixture
def unsafe_catalogue(catalogue: Path) -> Path:
    """The same with its models in a network, unencrypted."""
    catalogue.write_text(catalogue.read_text().replace("http://127.0.0.1", "http://models.example"))
    return catalogue


@pytest.fixture
def pull(catalogue: Path, ollama: FakeOllama, tmp_path: Path) -> Run:
    parley = runner(NOWHERE, tmp_path)

    async def pull(*arguments: object, **options: object) -> object:
        given = ("--catalogue", catalogue, "--ollama-url", ollama.url, *arguments)
        return await parley("models", "pull", *given, **options)

    return pull  # type: ignore[return-value]


async def test_all_defaults_are_fetched_and_what_to_set_is_said(
    pull: Run, tmp_path: Path, ollama: FakeOllama
) -> None:
    finished = await pull()
    assert finished.exit_code == 0, finished
    models = tmp_path / "models"
    assert (models / "zh-en" / "tokens.txt").read_bytes() == MODEL["tokens.txt"]
    assert [each["model"] for each in ollama.pulls] == ["chat:1b"]
    said = [line.strip() for line in finished.out.splitlines() if line.strip().startswith(SETTINGS)]
    assert said == [
        f"PARLEY_ASR_VAD_MODEL_FILE={models}/vad/vad.onnx",
        "PARLEY_ASR_ENGINE=sherpa",
        f"PARLEY_ASR_MODEL_FOLDER={models}/zh-en",
        "PARLEY_ASR_MODEL_LANGUAGES=zh,en",
        "PARLEY_TTS_ENGINE=sherpa",
        f"PARLEY_TTS_MODEL_FOLDER={models}/voice",
        "PARLEY_TTS_MODEL_LANGUAGE=zh",
        "PARLEY_LLM_ENGINE=ollama",
        "PARLEY_LLM_MODEL=chat:1b",
    ]
    assert "licence: MIT" in finished.out
    assert "sha256" in finished.out
    assert "vad: 100 %" in finished.err
    assert "\x1b" not in finished.out + finished.err


async def test_a_second_time_there_is_nothing_to_do(pull: Run, host: FakeModelHost) -> None:
    await pull()
    request_count = len(host.requests)
    again = await pull()
    assert (again.exit_code, again.err) == (0, "")
    assert again.out.count("already there") == 4
    assert len(host.requests) == request_count


async def test_json_is_all_on_standard_output(pull: Run, tmp_path: Path) -> None:
    told = (await pull("--json")).json()
    assert [(each["name"], each["outcome"]) for each in told["models"]] == [
        ("vad", "fetched"),
        ("zh-en", "fetched"),
        ("voice", "fetched"),
        ("chat:1b", "fetched"),
    ]
    assert told["models"][0]["folder"] == str(tmp_path / "models" / "vad")
    assert len(told["models"][0]["sha256"]) == 64
    assert told["variables"]["PARLEY_LLM_MODEL"] == "chat:1b"


async def test_only_what_is_named_is_fetched_into_the_folder_that_is_named(
    pull: Run, tmp_path: Path, ollama: FakeOllama
) -> None:
    finished = await pull("vad", "--folder", tmp_path / "my models")
    assert finished.exit_code == 0
    assert (tmp_path / "my models" / "vad" / "vad.onnx").is_file()
    assert f"PARLEY_ASR_VAD_MODEL_FILE='{tmp_path}/my models/vad/vad.onnx'" in finished.out
    assert ollama.pulls == []


async def test_another_chat_model_needs_neither_catalogue_nor_folder(
    pull: Run, tmp_path: Path, ollama: FakeOllama
) -> None:
    environment = {"PARLEY_OLLAMA_MODEL": "qwen3:4b", "PARLEY_HOME": "/proc/nowhere"}
    finished = await pull("qwen3:4b", environment=environment)
    assert finished.exit_code == 0, finished
    assert [each["model"] for each in ollama.pulls] == ["qwen3:4b"]


async def test_it_speaks_chinese(pull: Run) -> None:
    finished = await pull("vad", environment={"LC_ALL": "zh_CN.UTF-8"})
    assert "已下载到" in finished.out
    failed = await pull("nothing", environment={"LC_ALL": "zh_CN.UTF-8"})
    assert failed.refuses(2, "没有叫 nothing 的模型")


async def test_the_list_needs_no_network(tmp_path: Path) -> None:
    finished = await runner(NOWHERE, tmp_path)("models", "pull", "--list")
    assert finished.exit_code == 0
    assert {"silero-vad", "zipformer-zh-en", "melo-zh-en", "gemma3:1b"} <= set(finished.out.split())
    assert not (tmp_path / "models").exists()


async def test_the_list_knows_what_is_there(pull: Run) -> None:
    await pull("vad")
    told = (await pull("--list", "--json")).json()
    assert [each["name"] for each in told["models"] if each["is_there"]] == ["vad"]


async def test_one_that_fails_does_not_keep_the_others_away(
    pull: Run, host: FakeModelHost, tmp_path: Path
) -> None:
    del host.files["/zh-en.tar.bz2"]
    finished = await pull("--json")
    assert finished.exit_code == 1
    told = json.loads(finished.out)
    outcomes = {each["name"]: each.get("reason", each["outcome"]) for each in told["models"]}
    assert outcomes == {"vad": "fetched", "zh-en": "gone", "voice": "fetched", "chat:1b": "fetched"}
    assert "PARLEY_ASR_MODEL_FOLDER" not in told["variables"]
    complaints = [line for line in finished.err.splitlines() if line.startswith("parley: ")]
    assert len(complaints) == 1
    assert "status 404" in complaints[0]


async def test_without_ollama_it_says_what_to_do(pull: Run) -> None:
    finished = await pull("chat:1b", "--ollama-url", NOWHERE_URL)
    assert finished.refuses(1, NOWHERE_URL, "ollama serve", "--ollama-url")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], ["nothing", "--list"]),
        (["--ollama-url", "localhost"], ["localhost", "http://127.0.0.1:11434"]),
        (["--folder", "/proc/models"], ["/proc/models", "--folder"]),
    ],
    ids=["name", "url", "folder"],
)
async def test_wrong_use_is_one_line(pull: Run, arguments: list[str], words: list[str]) -> None:
    assert (await pull(*arguments)).refuses(2, *words)


async def test_an_ollama_model_that_is_no_name_is_wrong_use(pull: Run) -> None:
    finished = await pull(environment={"PARLEY_OLLAMA_MODEL": "a b"})
    assert finished.refuses(2, "PARLEY_OLLAMA_MODEL", "gemma3:1b")


@pytest.mark.usefixtures("unsafe_catalogue")
async def test_a_catalogue_over_http_is_wrong_use(pull: Run) -> None:
    assert (await pull()).refuses(2, "catalogue.toml", "https")


async def test_text_of_others_cannot_steer_the_terminal(pull: Run, ollama: FakeOllama) -> None:
    ollama.answers = [[{"error": "gone\x1b[2J\nwrong"}]]
    finished = await pull("chat:1b")
    assert finished.refuses(1, "gone [2J wrong")


async def started(
    catalogue: Path, folder: Path, *arguments: str, **limits: int
) -> asyncio.subprocess.Process:
    def limit() -> None:
        if limits:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_max_bytes"], limits["file_max_bytes"]))

    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "parley_cli", "models", "pull", "--catalogue", str(catalogue), *arguments),
        env=command_environment(NOWHERE, folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=limit,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_ctrl_c_leaves_a_part_that_is_gone_on_with(
    host: FakeModelHost, catalogue: Path, pull: Run, tmp_path: Path, number: signal.Signals
) -> None:
    host.stalls_after = 600_000
    process = await started(catalogue, tmp_path, "vad")
    part = tmp_path / "models" / "vad.part"
    async with asyncio.timeout(60):
        while not host.asked.is_set() or not part.is_file() or part.stat().st_size == 0:
            await asyncio.sleep(0.02)
        os.kill(process.pid, number)
        out, err = await process.communicate()
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in err
    assert b"is kept" in err
    kept_bytes = part.stat().st_size
    host.stalls_after = None
    assert (await pull("vad")).exit_code == 0
    assert host.requests[-1]["range"] == f"bytes={kept_bytes}-"


async def test_a_disk_that_fills_up_is_told_and_gone_on_with(
    host: FakeModelHost, catalogue: Path, pull: Run, tmp_path: Path
) -> None:
    # The largest file that this process may write stands for the disk.
    process = await started(catalogue, tmp_path, "vad", file_max_bytes=500_000)
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"is full" in err.splitlines()[-1]
    assert (await pull("vad")).exit_code == 0
    assert host.requests[-1]["range"] == "bytes=500000-"


async def test_a_second_pull_at_the_same_time_is_told(
    host: FakeModelHost, catalogue: Path, pull: Run, tmp_path: Path
) -> None:
    host.stalls_after = 600_000
    process = await started(catalogue, tmp_path, "vad")
    try:
        async with asyncio.timeout(60):
            await host.asked.wait()
        assert (await pull("vad")).refuses(1, "another 'parley models pull'", str(tmp_path / "models"))
    finally:
        process.kill()
        await process.communicate()


async def test_certificates_are_looked_at(pull: Run, catalogue: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with running_host(tls) as host:
        host.files = {"/vad.onnx": CONTENT}
        point_at(catalogue, host)
        refused = await pull("vad")
        assert refused.refuses(1, "certificate of 127.0.0.1", "SSL_CERT_FILE")
        trusted = {"SSL_CERT_FILE": str(tmp_path / "authority.pem")}
        assert (await pull("vad", environment=trusted)).exit_code == 0
        host.files = {}
        host.redirects = {"/vad.onnx": "http://127.0.0.1:1/vad.onnx"}
        again = await pull("vad", "--folder", tmp_path / "other", environment=trusted)
        assert again.refuses(1, "not https")


async def test_it_explains_itself(tmp_path: Path) -> None:
    finished = await runner(NOWHERE, tmp_path)("models", "pull", "--help")
    assert (finished.exit_code, finished.err) == (0, "")
    assert all(len(line) <= 80 for line in finished.out.splitlines())


async def test_what_is_said_to_set_makes_the_services_find_their_models(
    pull: Run, host: FakeModelHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_vits(tmp_path / "babble")
    recogniser = {path.name: path.read_bytes() for path in EMBEDDED_MODEL_FOLDER.iterdir()}
    voice = {path.name: path.read_bytes() for path in (tmp_path / "babble").iterdir()}
    host.files["/zh-en.tar.bz2"] = packed(recogniser)
    host.files["/voice.tar.gz"] = packed(voice, form="gz")
    big = sum(map(len, recogniser.values()))
    told = (await pull("--json", "--catalogue", larger(tmp_path, big))).json()

    for name, value in told["variables"].items():
        monkeypatch.setenv(name, value)
    asr, tts, llm = (read_settings(each) for each in (AsrSettings, TtsSettings, LlmSettings))
    assert asr.model_folder is not None
    assert tts.model_folder is not None
    assert asr_model_folder.find_model(asr.model_folder).family is asr_model_folder.Family.NEMO_CTC
    assert asr.vad_model_file == tmp_path / "models" / "vad" / "vad.onnx"
    assert tts_model.find_model(tts.model_folder).family == "vits"
    assert (llm.engine, llm.model) == ("ollama", "chat:1b")


def point_at(catalogue: Path, host: FakeModelHost) -> None:
    """Have the catalogue's models come from that host."""
    catalogue.write_text(re.sub(r"http://127\.0\.0\.1:\d+", host.url, catalogue.read_text()))


def larger(folder: Path, size_bytes: int) -> Path:
    """The catalogue of these tests for archives of that size."""
    file = folder / "larger.toml"
    text = (folder / "catalogue.toml").read_text()
    file.write_text(
        text.replace(f"unpacked_bytes = {len(CONTENT)}", f"unpacked_bytes = {size_bytes}").replace(
            f"size_bytes = {len(CONTENT)}\nunpacked", f"size_bytes = {size_bytes}\nunpacked"
        )
    )
    return file
