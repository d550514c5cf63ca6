"""The script decides; what is no script is refused in one line."""

import asyncio
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from parley_llm.engines.scripted import Script, ScriptedAnswer, ScriptedEngine, read_script
from parley_llm.ports import Completion, Generation, Message
from parley_servicekit.faults import Fault, FaultCode
from support.virtual_time import VirtualTimeLoop


async def answer_of(engine: ScriptedEngine, text: str, max_tokens: int = 100) -> list[str | Completion]:
    async with aclosing(
        engine.open_stream(Generation((Message("user", text),), max_tokens=max_tokens))
    ) as pieces:
        return [piece async for piece in pieces]


def write(folder: Path, text: str) -> Path:
    path = folder / "script.json"
    path.write_text(text)
    return path


async def test_answers_go_by_what_was_asked_and_else_in_turn(tmp_path: Path) -> None:
    script = read_script(
        write(
            tmp_path,
            '{"answers": [{"deltas": ["one"]}, {"when_asked": "Weather", "deltas": ["sunny"]}, {"deltas": ["two"]}]}',
        )
    )
    engine = ScriptedEngine(script)
    asked = ("hi", "what weather is it", "hi", "hi")
    assert [(await answer_of(engine, text))[0] for text in asked] == ["one", "sunny", "two", "one"]


async def test_a_longest_answer_is_kept() -> None:
    engine = ScriptedEngine(Script(answers=(ScriptedAnswer(deltas=("a", "b"), repeat=3),)))
    *deltas, end = await answer_of(engine, "hi", max_tokens=5)
    assert deltas == ["a", "b", "a", "b", "a"]
    assert isinstance(end, Completion)
    assert (end.finish_reason, end.completion_token_count) == ("length", 5)


async def test_without_a_fitting_answer_it_says_nothing() -> None:
    engine = ScriptedEngine(Script(answers=(ScriptedAnswer(when_asked="x", deltas=("a",)),)))
    assert [type(piece) for piece in await answer_of(engine, "hi")] == [Completion]


async def test_it_says_what_it_is() -> None:
    (model,) = await ScriptedEngine(Script(answers=(ScriptedAnswer(),))).list_models()
    assert "scripted" in model.description


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"answers": []}',
        '{"answers": [{"delta": ["typo"]}]}',
        '{"answers": [{"delta_ms": -1}]}',
    ],
)
def test_what_is_no_script_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Fault) as caught:
        read_script(write(tmp_path, text))
    assert (caught.value.reason, caught.value.code) == ("SCRIPT_UNREADABLE", FaultCode.FAILED_PRECONDITION)
    assert "\n" not in caught.value.message
    with pytest.raises(Fault, match="cannot be read"):
        read_script(tmp_path / "none.json")


def test_a_stall_holds_up_what_follows_and_loses_nothing() -> None:
    script = Script.model_validate(
        {"answers": [{"deltas": ["a", "b", "c"], "delta_ms": 10, "stall_after": 2, "stall_ms": 900}]}
    )

    async def moments() -> list[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        began_at_s = loop.time()
        stream = ScriptedEngine(script).open_stream(Generation((Message("user", "hi"),), max_tokens=100))
        return [
            (piece, round((loop.time() - began_at_s) * 1000))
            async for piece in stream
            if isinstance(piece, str)
        ]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(moments()) == [("a", 0), ("b", 10), ("c", 920)]


def test_delays_of_a_distribution_come_from_the_seed() -> None:
    def first_ms(seed: int) -> float:
        script = Script.model_validate(
            {"seed": seed, "answers": [{"deltas": ["a"], "first_delta_ms": {"p50_ms": 200, "p95_ms": 600}}]}
        )

        async def measure() -> float:
            began_at_s = asyncio.get_running_loop().time()
            await answer_of(ScriptedEngine(script), "hi")
            return asyncio.get_running_loop().time() - began_at_s

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(measure())

    assert first_ms(1) == first_ms(1) != first_ms(2)
    assert first_ms(1) > 0


def test_a_crash_ends_the_process() -> None:
    program = """
import asyncio
from parley_llm.engines.scripted import Script, ScriptedEngine
from parley_llm.ports import Generation, Message

async def main():
    engine = ScriptedEngine(Script.model_validate({"answers": [{"deltas": ["a", "b"], "crash_after": 1}]}))
    async for piece in engine.open_stream(Generation((Message("user", "hi"),), max_tokens=100)):
        print(piece, flush=True)

asyncio.run(main())
"""
    crashed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (crashed.stdout, crashed.returncode) == ("a\n", 70)
