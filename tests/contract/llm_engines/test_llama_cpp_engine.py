"""The embedded engine: llama.cpp in its child process, on made models."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from parley_llm.engines.llama_cpp import LlamaCppEngine, LlamaCppOptions
from parley_llm.ports import Completion, Generation, Message, Sampling
from parley_servicekit.faults import Fault, FaultCode
from support.alphabet_model import CONTEXT_TOKEN_COUNT, alphabet, write_alphabet_model

PATIENCE_S = 30.0
ASKED = Generation((Message("user", "a secret"),), Sampling(), 10, "alphabet")


def make_engine(model_file: Path, context_token_count: int = 1024) -> LlamaCppEngine:
    return LlamaCppEngine(
        LlamaCppOptions(model_file, "made", ("en",), context_token_count, 2, 1, 60_000, 10_000)
    )


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[LlamaCppEngine]:
    engine = make_engine(write_alphabet_model(tmp_path / "alphabet.gguf"))
    await engine.open()
    yield engine
    await engine.close()


async def pieces_of(engine: LlamaCppEngine, generation: Generation = ASKED) -> list[str | Completion]:
    async with asyncio.timeout(PATIENCE_S), aclosing(engine.open_stream(generation)) as stream:
        return [piece async for piece in stream]


async def text_of(engine: LlamaCppEngine, sampling: Sampling) -> str:
    pieces = await pieces_of(engine, Generation(ASKED.messages, sampling, 40, "alphabet"))
    return "".join(piece for piece in pieces if isinstance(piece, str))


async def test_its_own_default_is_to_take_no_chances(engine: LlamaCppEngine) -> None:
    assert await text_of(engine, Sampling()) == alphabet(40)


async def test_sampling_reaches_the_model(engine: LlamaCppEngine) -> None:
    wild = Sampling(temperature=2.0, top_p=1.0, seed=1)
    wildly = await text_of(engine, wild)
    assert wildly != alphabet(40)
    assert await text_of(engine, replace(wild, seed=2)) != wildly
    assert await text_of(engine, replace(wild, repeat_penalty=2.0)) != wildly
    assert await text_of(engine, replace(wild, top_k=1)) == alphabet(40)
    assert await text_of(engine, replace(wild, top_p=0.01)) == alphabet(40)
    assert await text_of(engine, Sampling(stop=("ef",))) == "abcd"


async def test_a_stop_text_is_a_stop(engine: LlamaCppEngine) -> None:
    pieces = await pieces_of(engine, Generation(ASKED.messages, Sampling(stop=("ef",)), 40, "alphabet"))
    assert isinstance(pieces[-1], Completion)
    assert pieces[-1].finish_reason == "stop"


async def test_a_context_beyond_what_the_model_was_made_for_is_not_used(tmp_path: Path) -> None:
    engine = make_engine(write_alphabet_model(tmp_path / "alphabet.gguf"), 2 * CONTEXT_TOKEN_COUNT)
    await engine.open()
    assert engine.capabilities.context_token_count == CONTEXT_TOKEN_COUNT
    assert len(await pieces_of(engine)) == 11
    await engine.close()


async def test_a_killed_child_ends_its_answers_and_is_replaced(engine: LlamaCppEngine) -> None:
    pid = engine.child_pid
    assert pid is not None
    generation = Generation(ASKED.messages, Sampling(), 100_000, "alphabet")
    with pytest.raises(Fault) as caught:
        async with asyncio.timeout(PATIENCE_S), aclosing(engine.open_stream(generation)) as stream:
            async for _ in stream:
                if engine.child_pid == pid:
                    os.kill(pid, signal.SIGKILL)
                    await engine.wait_lost()
    assert (caught.value.reason, caught.value.code) == ("UPSTREAM_CUT", FaultCode.UNAVAILABLE)
    assert caught.value.retry_after_ms is not None
    with pytest.raises(Fault, match="ENGINE_RESTARTING"):
        await pieces_of(engine)
    await engine.ensure_available()
    assert engine.child_pid not in (None, pid)
    assert len(await pieces_of(engine)) == 11


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is not a GGUF file"),
        (b"not a model at all", "it is not a GGUF file"),
        (b"GGUF" + bytes(100), "llama.cpp cannot load it"),
        (b"GGUF\x03\x00\x00\x00" + b"\xff" * 100, "llama.cpp cannot load it"),
        (None, "it cannot be read: No such file or directory"),
    ],
)
async def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, content: bytes | None, problem: str) -> None:
    model_file = tmp_path / "bad.gguf"
    if content is not None:
        model_file.write_bytes(content)
    engine = make_engine(model_file)
    with pytest.raises(Fault) as caught:
        async with asyncio.timeout(PATIENCE_S):
            await engine.open()
    assert (caught.value.reason, caught.value.code) == ("MODEL_UNREADABLE", FaultCode.FAILED_PRECONDITION)
    assert caught.value.message.startswith(f"bad.gguf: {problem}")
    assert "\n" not in caught.value.message
    assert engine.child_pid is None


async def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    model_file = write_alphabet_model(tmp_path / "alphabet.gguf")
    model_file.write_bytes(model_file.read_bytes()[:-50_000])
    with pytest.raises(Fault, match="MODEL_UNREADABLE"):
        await make_engine(model_file).open()


async def test_the_key_and_the_conversation_are_not_in_the_process_list(engine: LlamaCppEngine) -> None:
    assert engine.child_pid is not None
    child = psutil.Process(engine.child_pid)
    assert child.cmdline()[1:] == ["-m", "parley_llm.engines.llama_cpp_server"]
    assert not [name for name in child.environ() if name.startswith("PARLEY_")]


async def test_without_the_key_the_child_answers_nobody(engine: LlamaCppEngine) -> None:
    assert engine.child_pid is not None
    ports = {
        connection.laddr.port
        for connection in psutil.Process(engine.child_pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(ports) == 1
    for path, status in (("/v1/models", b"401"), ("/slots", b"401"), ("/", b"401"), ("/health", b"200")):
        reader, writer = await asyncio.open_connection("127.0.0.1", next(iter(ports)))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = (await reader.readline()).split(b" ")[1]
        writer.close()
        assert answer in (status, b"404"), path


PARENT = """
import asyncio, sys
from pathlib import Path
from parley_llm.engines.llama_cpp import LlamaCppEngine, LlamaCppOptions

async def main():
    engine = LlamaCppEngine(LlamaCppOptions(Path(sys.argv[1]), "", (), 512, 1, 1, 60_000, 10_000))
    await engine.open()
    print("child", engine.child_pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    model_file = write_alphabet_model(tmp_path / "alphabet.gguf")
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(model_file), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (line := await parent.stdout.readline()).startswith(b"child"):
                assert line, "ended before its child had started"
        child = psutil.Process(int(line.split()[1]))
        assert child.is_running()
    finally:
        parent.kill()
        await parent.wait()
    async with asyncio.timeout(PATIENCE_S):
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)
