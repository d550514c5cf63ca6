"""The script decides; what is no script is refused in one line."""

from contextlib import aclosing
from pathlib import Path

import pytest

from parley_llm.engines.scripted import Script, ScriptedAnswer, ScriptedEngine, read_script
from parley_llm.ports import Completion, Generation, Message
from parley_servicekit.faults import Fault, FaultCode


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
