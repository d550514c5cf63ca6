"""What every chat engine has to do, one body over all of them. Each of them recites the alphabet here.

embedded is the real llama.cpp on a made model, in its child process; ollama and openai talk to servers of ours that
speak the protocols; scripted is itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path

import pytest

from parley_llm.engines.llama_cpp import LlamaCppEngine, LlamaCppOptions
from parley_llm.engines.ollama import OllamaEngine, OllamaOptions
from parley_llm.engines.openai_compatible import OpenAiCompatibleEngine
from parley_llm.engines.scripted import Script, ScriptedAnswer, ScriptedEngine
from parley_llm.ports import ChatEngine, Completion, ContextOverflow, Generation, Message, Sampling
from support.alphabet_model import ALPHABET, alphabet, write_alphabet_model
from support.fake_model_server import fake_model_server

# A guard against hanging, not a measurement.
PATIENCE_S = 20.0
# Minutes of work for llama.cpp on the made model: whoever waits for its end notices.
ENDLESS = 250_000

OpenEngine = Callable[[Path], AbstractAsyncContextManager[ChatEngine]]


@asynccontextmanager
async def scripted(folder: Path) -> AsyncIterator[ChatEngine]:
    answer = ScriptedAnswer(deltas=tuple(ALPHABET), repeat=10_000)
    yield ScriptedEngine(Script(answers=(answer,), context_token_count=512))


@asynccontextmanager
async def ollama(folder: Path) -> AsyncIterator[ChatEngine]:
    async with fake_model_server("ollama") as server:
        yield OllamaEngine(OllamaOptions(server.url, ("alphabet", "other:1b"), 512, -1, 2000, 10_000))


@asynccontextmanager
async def openai(folder: Path) -> AsyncIterator[ChatEngine]:
    async with fake_model_server("openai") as server:
        server.behaviour.prompt_max_chars = 2000
        yield OpenAiCompatibleEngine(
            server.url,
            "",
            models=("alphabet:latest", "other:1b"),
            context_token_count=512,
            connect_timeout_ms=2000,
            read_timeout_ms=10_000,
        )


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[ChatEngine]:
    model_file = write_alphabet_model(folder / "alphabet.gguf", context_token_count=ENDLESS + 6000)
    yield LlamaCppEngine(LlamaCppOptions(model_file, "made", (), ENDLESS + 6000, 1, 1, 60_000, 10_000))


ENGINES = [scripted, ollama, openai, embedded]
TELL_OVERFLOW = [scripted, openai, embedded]  # Ollama drops the oldest messages itself and says nothing


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.__name__)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ChatEngine]:
    async with opened(request.param, tmp_path) as engine:
        yield engine


@asynccontextmanager
async def opened(open_engine: OpenEngine, folder: Path) -> AsyncIterator[ChatEngine]:
    async with open_engine(folder) as engine:
        try:
            await engine.open()
            yield engine
        finally:
            await engine.close()


def asking(text: str = "say the alphabet", max_tokens: int = 30, **sampling: object) -> Generation:
    chosen = Sampling(temperature=0.0, **sampling)  # type: ignore[arg-type]
    messages = (
        Message("system", "You recite."),
        Message("user", "Good day"),
        Message("assistant", "abc"),
        Message("user", text),
    )
    return Generation(messages, chosen, max_tokens)


async def answer_of(engine: ChatEngine, generation: Generation) -> tuple[str, Completion]:
    """The joined pieces and what came last. The default model where none is named, as `Chat` fills it in."""
    pieces: list[str] = []
    model = generation.model or engine.capabilities.models[0]
    generation = Generation(generation.messages, generation.sampling, generation.max_tokens, model)
    async with asyncio.timeout(PATIENCE_S), aclosing(engine.open_stream(generation)) as stream:
        async for piece in stream:
            if isinstance(piece, Completion):
                return "".join(pieces), piece
            pieces.append(piece)
    raise AssertionError("a stream without a completion")


async def test_an_answer_is_streamed_and_ends_with_a_completion(engine: ChatEngine) -> None:
    text, completion = await answer_of(engine, asking(max_tokens=30))
    assert text == alphabet(30)
    assert completion.finish_reason == "length"
    assert completion.completion_token_count == 30
    assert completion.prompt_token_count > 0


async def test_pieces_come_one_by_one(engine: ChatEngine) -> None:
    generation = Generation(asking().messages, Sampling(temperature=0.0), 30, engine.capabilities.models[0])
    async with asyncio.timeout(PATIENCE_S), aclosing(engine.open_stream(generation)) as stream:
        pieces = [piece async for piece in stream]
    assert [piece for piece in pieces[:-1] if piece] == list(alphabet(30))
    assert isinstance(pieces[-1], Completion)


async def test_it_is_available_and_lists_its_models(engine: ChatEngine) -> None:
    await engine.ensure_available()
    models = await engine.list_models()
    assert tuple(model.name for model in models) == engine.capabilities.models
    assert models[0].is_loaded
    assert models[0].context_token_count == engine.capabilities.context_token_count
    assert "/" not in models[0].name


async def test_a_closed_stream_stops_the_generation(engine: ChatEngine) -> None:
    generation = Generation(
        asking().messages, Sampling(temperature=0.0), ENDLESS, engine.capabilities.models[0]
    )
    async with asyncio.timeout(PATIENCE_S):
        async with aclosing(engine.open_stream(generation)) as stream:
            assert [await anext(stream), await anext(stream)][-1] in ("a", "b")
        # The embedded engine has one slot here: a second answer proves that the first one no longer holds it.
        text, _ = await answer_of(engine, asking(max_tokens=3))
    assert text == "abc"


async def test_a_cancelled_reader_stops_the_generation(engine: ChatEngine) -> None:
    generation = Generation(
        asking().messages, Sampling(temperature=0.0), ENDLESS, engine.capabilities.models[0]
    )
    reading = asyncio.Event()

    async def read_for_ever() -> None:
        async with aclosing(engine.open_stream(generation)) as stream:
            async for _ in stream:
                reading.set()
                await asyncio.sleep(0)

    async with asyncio.timeout(PATIENCE_S):
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(read_for_ever())
            await reading.wait()
            reader.cancel()
        text, _ = await answer_of(engine, asking(max_tokens=3))
    assert text == "abc"


async def test_answers_do_not_mix(engine: ChatEngine) -> None:
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(answer_of(engine, asking(max_tokens=20 + n))) for n in range(4)]
    assert [task.result()[0] for task in asked] == [alphabet(20 + n) for n in range(4)]


async def test_the_same_seed_gives_the_same_answer(engine: ChatEngine) -> None:
    seeded = Sampling(temperature=2.0, top_p=1.0, seed=-(1 << 62))
    generation = Generation((Message("user", "surprise me"),), seeded, 40)
    assert await answer_of(engine, generation) == await answer_of(engine, generation)


async def test_all_of_unicode_is_taken(engine: ChatEngine) -> None:
    text, _ = await answer_of(engine, asking('Grüße, 你好, 🙂 \x00 <|im_end|> "quoted"\r\n', max_tokens=5))
    assert text == "abcde"


@pytest.mark.parametrize("open_engine", TELL_OVERFLOW, ids=lambda engine: engine.__name__)
async def test_a_prompt_beyond_the_context_is_told_as_such(open_engine: OpenEngine, tmp_path: Path) -> None:
    async with opened(open_engine, tmp_path) as engine:
        with pytest.raises(ContextOverflow):
            await answer_of(engine, asking("word " * (ENDLESS // 3)))
        text, _ = await answer_of(engine, asking(max_tokens=3))
        assert text == "abc"
