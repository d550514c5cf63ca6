"""What there is: voices, models, personas, stored conversations; whether it works; help; no gateway."""

import re

import pytest
from integration.cli.command import NOWHERE, Run

from support.scripted_stack import ANSWER
from support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAID = "".join(ANSWER)
COMMANDS = [
    [],
    ["up"],
    ["demo"],
    ["talk"],
    ["chat"],
    ["say"],
    ["transcribe"],
    ["voices"],
    ["voices", "list"],
    ["models"],
    ["models", "list"],
    ["personas"],
    ["conversations"],
    ["conversations", "list"],
    ["conversations", "show"],
    ["conversations", "rename"],
    ["conversations", "delete"],
    ["doctor"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "parley")
async def test_every_command_explains_itself(parley_alone: Run, command: list[str]) -> None:
    finished = await parley_alone(*command, "--help")
    assert (finished.exit_code, finished.err) == (0, "")
    assert finished.out.lstrip().startswith("Usage: ")
    assert all(len(line) <= 80 for line in finished.out.splitlines())


@pytest.mark.parametrize("arguments", [["dance"], ["chat", "--loud"], ["conversations", "show"]])
async def test_wrong_use_exits_2_without_a_traceback(parley_alone: Run, arguments: list[str]) -> None:
    finished = await parley_alone(*arguments)
    assert finished.exit_code == 2
    assert "Traceback" not in finished.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", "hello"],
        ["chat", "hello", "--json"],
        ["say", "hello", "-o", "a.wav"],
        ["voices", "list"],
        ["models", "list", "--json"],
        ["personas"],
        ["conversations", "list"],
    ],
    ids=" ".join,
)
async def test_without_a_gateway_it_is_one_line_and_exit_code_1(
    parley_alone: Run, arguments: list[str]
) -> None:
    assert (await parley_alone(*arguments)).refuses(1, NOWHERE, "parley up")


@pytest.mark.parametrize("target", ["http://127.0.0.1:50050", "127.0.0.1", "host:0", "host:65536", "a b:1"])
async def test_a_gateway_that_is_no_address_is_wrong_use(parley_alone: Run, target: str) -> None:
    finished = await parley_alone("personas", environment={"PARLEY_GATEWAY": target})
    assert finished.refuses(2, "host:port", target)


async def test_voices_are_listed(parley: Run) -> None:
    finished = await parley("voices", "list")
    assert finished.exit_code == 0
    heading, first, *_ = finished.out.splitlines()
    assert heading.split()[:2] == ["voice", "languages"]
    assert first.startswith("scripted")
    assert (await parley("voices", "list", "--json")).json()[0]["name"] == "scripted"


async def test_voices_of_a_language_are_listed(parley: Run) -> None:
    assert (await parley("voices", "list", "--language", "en-GB", "--json")).json()
    assert (await parley("voices", "list", "--language", "tlh", "--json")).json() == []
    assert (await parley("voices", "list", "--language", "tlh")).refuses(2, "no voice speaks tlh")


async def test_models_of_all_three_services_are_listed(parley: Run) -> None:
    lines = (await parley("models", "list")).out.splitlines()
    assert lines[0].split()[:2] == ["service", "model"]
    assert {line.split()[0] for line in lines[1:]} == {"asr", "llm", "tts"}
    told = (await parley("models", "list", "--json")).json()
    assert set(told) == {"asr", "llm", "tts"}
    assert all(models[0]["name"] for models in told.values())


async def test_personas_are_listed(parley: Run) -> None:
    told = (await parley("personas", "--json")).json()
    lines = (await parley("personas")).out.splitlines()
    assert [line.split()[0] for line in lines] == ["persona", *(each["name"] for each in told)]


async def test_a_conversation_is_listed_shown_renamed_and_deleted(parley: Run) -> None:
    conversation_id = (await parley("chat", "hello")).out.split()[-1]

    renamed = await parley("conversations", "rename", conversation_id, "My\x1b[31m title")
    listed = (await parley("conversations", "list")).out
    told = (await parley("conversations", "list", "-n", "1", "--json")).json()
    assert renamed.exit_code == 0, renamed
    assert "\x1b" not in listed
    assert [each["conversation_id"] for each in told["conversations"]] == [conversation_id]

    assert (await parley("conversations", "rename", conversation_id, "问候")).exit_code == 0
    line = next(
        line
        for line in (await parley("conversations", "list")).out.splitlines()
        if line.startswith(conversation_id)
    )
    assert re.search(r"  \d{4}-\d\d-\d\d \d\d:\d\d  .*问候$", line)

    shown = (await parley("conversations", "show", conversation_id)).out.splitlines()
    assert [re.sub(r"^ +[\d.]+ s", "", line) for line in shown] == [
        "     you ▸ hello",
        f"  parley ▸ {SAID}",
    ]

    assert (await parley("conversations", "delete", conversation_id)).out == "  deleted\n"
    assert (await parley("conversations", "show", conversation_id)).refuses(2)
    assert conversation_id not in (await parley("conversations", "list")).out


@pytest.mark.parametrize("arguments", [["show"], ["rename"], ["delete"]], ids=" ".join)
async def test_an_unknown_conversation_is_wrong_use(parley: Run, arguments: list[str]) -> None:
    title = ["title"] if arguments == ["rename"] else []
    assert (await parley("conversations", *arguments, "there-is-none", *title)).refuses(2)


async def test_a_list_that_goes_on_says_how_to_see_more(parley: Run) -> None:
    for _ in range(2):
        await parley("chat", "hello")
    finished = await parley("conversations", "list", "-n", "1")
    assert finished.out.splitlines()[-1] == "  there are more: parley conversations list -n 2"


@pytest.mark.parametrize("count", ["0", "1001", "many"])
async def test_a_count_out_of_range_is_wrong_use(parley: Run, count: str) -> None:
    assert (await parley("conversations", "list", "-n", count)).exit_code == 2


async def test_the_doctor_finds_everything_well(parley: Run, scripted: Stack) -> None:
    finished = await parley("doctor")
    assert (finished.exit_code, finished.err) == (0, "")
    assert f"at {scripted.gateway}" in finished.out
    findings = {each["subject"]: each["is_good"] for each in (await parley("doctor", "--json")).json()}
    microphone = findings.pop("microphone")
    assert microphone in (True, None)
    assert findings == dict.fromkeys(("python", "gateway", "asr", "llm", "tts", "store"), True)


async def test_the_doctor_without_a_gateway_says_what_to_do_and_exits_1(parley_alone: Run) -> None:
    finished = await parley_alone("doctor")
    assert finished.exit_code == 1
    assert "parley up" in finished.out
    assert NOWHERE in finished.out
    assert finished.err == ""
