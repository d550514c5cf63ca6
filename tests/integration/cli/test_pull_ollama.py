"""Models that Ollama fetches, from one that breaks off, refuses, hangs or is something else."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from parley_cli.pulling.download import Patience
from parley_cli.pulling.faults import PullError
from parley_cli.pulling.ollama import OllamaServer
from support.fake_model_host import FakeOllama, running_ollama

HASTY = Patience(attempt_count=3, retry_delay_ms=1, connect_timeout_ms=5_000, window_ms=400)


@pytest_asyncio.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with running_ollama() as ollama:
        yield ollama


async def pulled(url: str, name: str = "gemma3:1b") -> tuple[bool, list[tuple[int, int]]]:
    moves: list[tuple[int, int]] = []
    server = OllamaServer(url, HASTY, silence_max_ms=400)
    is_new = await server.pull(name, lambda done, total: moves.append((done, total)))
    return is_new, moves


async def reason(url: str) -> str:
    with pytest.raises(PullError) as raised:
        await pulled(url)
    assert raised.value.words
    return raised.value.reason


async def test_progress_is_told_until_it_is_there(ollama: FakeOllama) -> None:
    layer = {"status": "pulling 7462734796d6", "digest": "sha256:7462734796d6", "total": 100}
    ollama.answers = [
        [
            {"status": "pulling manifest"},
            layer,
            layer | {"completed": 40},
            layer | {"completed": 100},
            {"status": "verifying sha256 digest"},
            {"status": "success"},
        ]
    ]
    assert await pulled(ollama.url) == (True, [(40, 100), (100, 100)])
    assert ollama.pulls == [{"model": "gemma3:1b", "stream": True}]


@pytest.mark.parametrize(("there", "wanted"), [("gemma3:1b", "gemma3:1b"), ("gemma3:latest", "gemma3")])
async def test_what_is_there_is_not_fetched(ollama: FakeOllama, there: str, wanted: str) -> None:
    ollama.models = [there]
    assert await pulled(ollama.url, wanted) == (False, [])
    assert ollama.pulls == []


async def test_another_size_of_the_same_model_is_another_model(ollama: FakeOllama) -> None:
    ollama.models = ["gemma3:4b"]
    assert (await pulled(ollama.url))[0]


async def test_an_answer_that_breaks_off_is_asked_for_again(ollama: FakeOllama) -> None:
    half = {"status": "pulling", "total": 100, "completed": 50}
    ollama.answers = [[half, None], [half], [{"status": "success"}]]
    assert (await pulled(ollama.url))[0]
    assert len(ollama.pulls) == 3


async def test_one_that_always_breaks_off_is_given_up(ollama: FakeOllama) -> None:
    ollama.answers = [[{"status": "pulling manifest"}, None]]
    assert await reason(ollama.url) == "ollama_cut"
    assert len(ollama.pulls) == HASTY.attempt_count


async def test_a_model_that_does_not_exist_is_told(ollama: FakeOllama) -> None:
    ollama.answers = [[{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}]]
    assert await reason(ollama.url) == "ollama_no_model"


async def test_another_error_is_told_in_its_words(ollama: FakeOllama) -> None:
    ollama.answers = [[{"error": "max retries exceeded: no such host" + "x" * 5000}]]
    with pytest.raises(PullError) as raised:
        await pulled(ollama.url)
    assert raised.value.reason == "ollama_failed"
    assert "no such host" in raised.value.words
    assert len(raised.value.words) < 300


@pytest.mark.parametrize("line", [b"hello\n", b"[1]\n"])
async def test_lines_of_something_else_are_refused(ollama: FakeOllama, line: bytes) -> None:
    ollama.answers = [[line]]
    assert await reason(ollama.url) == "not_ollama"


async def test_a_line_without_end_is_refused(ollama: FakeOllama) -> None:
    ollama.answers = [[b"x" * 1_000_000]]
    assert await reason(ollama.url) == "not_ollama"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"models": 3}', b"x" * (5 << 20)])
async def test_something_else_behind_the_address_is_told(ollama: FakeOllama, body: bytes) -> None:
    ollama.tags_body = body
    assert await reason(ollama.url) == "not_ollama"


async def test_a_status_is_told(ollama: FakeOllama) -> None:
    ollama.tags_status = 502
    assert await reason(ollama.url) == "ollama_status"


async def test_one_that_hangs_is_given_up(ollama: FakeOllama) -> None:
    ollama.hangs = True
    assert await reason(ollama.url) == "ollama_unreachable"


async def test_one_that_is_not_there_is_told() -> None:
    assert await reason("http://127.0.0.1:1") == "ollama_unreachable"


@pytest.mark.parametrize(
    "url", ["", "localhost:11434", "ftp://host", "http://me:it@host", "http://host:99999", "http://"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(PullError, match="bad_ollama_url"):
        OllamaServer(url, HASTY)
