"""`parley chat` against real processes with scripted engines: for people, for scripts, from a pipe."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from integration.cli.command import Run, command_environment, run_process

from support.scripted_stack import ANSWER
from support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAID = "".join(ANSWER)


async def test_one_text_gets_its_answer_and_how_to_go_on(parley: Run) -> None:
    finished = await parley("chat", "hello")
    assert finished.exit_code == 0
    assert f"  parley ▸ {SAID}" in finished.out.splitlines()
    assert re.search(r"^  go on: parley chat --conversation \S+$", finished.out, re.MULTILINE)
    assert finished.err == ""


async def test_json_is_a_line_per_response_and_nothing_else(parley: Run) -> None:
    finished = await parley("chat", "hello", "--json")
    assert finished.exit_code == 0
    lines = finished.json_lines()
    assert "".join(line["reply_text"]["text"] for line in lines if "reply_text" in line) == SAID
    assert lines[-1]["reply_ended"]["outcome"] == "REPLY_OUTCOME_COMPLETED"
    assert not [line for line in lines if "reply_audio" in line]


async def test_each_line_of_standard_input_is_a_turn(parley: Run) -> None:
    finished = await parley("chat", stdin="hello\n\n   \n你好 again\r\nlast, without its end".encode())
    assert finished.exit_code == 0
    assert finished.out.count(f"  parley ▸ {SAID}") == 3


async def test_input_that_is_not_utf_8_is_a_turn_all_the_same(parley: Run) -> None:
    finished = await parley("chat", stdin=b"hello \xff\xfe\n")
    assert finished.exit_code == 0
    assert SAID in finished.out


async def test_no_input_is_no_turn(parley: Run) -> None:
    finished = await parley("chat", "--json")
    assert (finished.exit_code, finished.out, finished.err) == (0, "", "")


async def test_a_conversation_is_continued_by_its_id(parley: Run) -> None:
    first = await parley("chat", "hello")
    conversation_id = first.out.split()[-1]
    second = await parley("chat", "hello again", "--conversation", conversation_id)
    assert second.out.split()[-1] == conversation_id
    shown = (await parley("conversations", "show", conversation_id, "--json")).json()
    assert [turn["text"] for turn in shown["turns"]] == ["hello", SAID, "hello again", SAID]


async def test_an_unknown_conversation_is_wrong_use(parley: Run) -> None:
    finished = await parley("chat", "hello", "--conversation", "there-is-none")
    assert finished.refuses(2)


async def test_an_unknown_persona_is_wrong_use(parley: Run) -> None:
    finished = await parley("chat", "hello", "--persona", "nobody")
    assert finished.refuses(2, "persona")


async def test_a_known_persona_answers(parley: Run) -> None:
    name = (await parley("personas", "--json")).json()[-1]["name"]
    finished = await parley("chat", "hello", "--persona", name)
    assert finished.exit_code == 0
    assert SAID in finished.out


async def test_an_answer_that_breaks_is_told_and_exits_1(parley: Run) -> None:
    finished = await parley("chat", "break")
    assert finished.exit_code == 1
    assert "This breaks," in finished.out
    assert finished.err.strip()


async def test_an_answer_that_breaks_exits_1_with_json_too(parley: Run) -> None:
    finished = await parley("chat", "break", "--json")
    assert finished.exit_code == 1
    assert [line for line in finished.json_lines() if "error" in line]


@pytest.mark.parametrize("options", ["", "--json"])
async def test_a_reader_that_has_seen_enough_ends_it_quietly(
    scripted: Stack, tmp_path: Path, options: str
) -> None:
    command = f"{shlex.quote(sys.executable)} -m parley_cli chat {options} 'something long'"
    finished = await run_process(
        ["bash", "-c", command + " | head -c 1 > /dev/null; echo ${PIPESTATUS[0]}"],
        command_environment(scripted.gateway, tmp_path),
        tmp_path,
    )
    assert (finished.out, finished.err) == ("0\n", "")


async def test_a_terminal_that_cannot_show_a_character_gets_a_question_mark(parley: Run) -> None:
    finished = await parley("chat", "hello", environment={"PYTHONIOENCODING": "ascii"})
    assert finished.exit_code == 0
    assert f"parley ? {SAID}" in finished.out
