"""`parley top` against real processes: one snapshot as text and as JSON, the live screen in a terminal, and what
answers in place of a process.
"""

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from integration.cli.command import NOWHERE, Run, command_environment

from parley_cli.watching.scraping import ScrapeError, endpoint_from, scrape
from support.person import SPEECH
from support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = SPEECH / "question.wav"
PATIENCE_S = 60.0
Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def options(stack: Stack) -> list[str]:
    return [part for name, url in stack.metrics.items() for part in ("--metrics", f"{name}={url}")]


async def test_a_snapshot_shows_a_turn_and_all_four_processes(parley: Run, scripted: Stack) -> None:
    assert (await parley("talk", "--input", QUESTION, "--fast")).exit_code == 0
    finished = await parley("top", "--once", *options(scripted))
    assert (finished.exit_code, finished.err) == (0, "")
    lines = finished.out.splitlines()
    assert any(re.match(r" voice to voice   p50 \d+ ms   p95 \d+ ms", line) for line in lines)
    for stage in (
        "end of turn decided",
        "last words recognised",
        "first word of answer",
        "first phrase spoken",
    ):
        assert any(line.startswith(f" {stage}") and re.search(r"\d", line) for line in lines), stage
    for name in ("gateway", "asr", "llm", "tts"):
        line = next(line for line in lines if line.startswith(f" {name} "))
        assert re.search(r"\d %.*\d MB", line), line
    assert "\x1b" not in finished.out


async def test_json_has_every_figure_of_the_turn(parley: Run, scripted: Stack) -> None:
    before = (await parley("top", "--json", *options(scripted))).json()
    talked = await parley("talk", "--input", QUESTION, "--fast", "--json")
    view = (await parley("top", "--json", *options(scripted))).json()
    assert [process["problem"] for process in view["processes"]] == [None] * 4
    assert view["replies"]["since_start"]["completed"] - before["replies"]["since_start"]["completed"] == 1
    latency = view["latency_since_start"]
    counted = (before["latency_since_start"] or {"turn_count": 0})["turn_count"]
    assert latency["turn_count"] == counted + 1
    assert sum(stage["mean_ms"] for stage in latency["stages"]) == pytest.approx(latency["mean_ms"], abs=0.01)
    (ended,) = [line["reply_ended"] for line in talked.json_lines() if "reply_ended" in line]
    stages_s = {name: float(value.removesuffix("s")) for name, value in ended["latency"].items()}
    whole_s = stages_s.pop("voice_to_voice")
    assert len(stages_s) == 5
    assert sum(stages_s.values()) == pytest.approx(whole_s, abs=1e-3)


async def test_watched_json_is_a_line_a_second(scripted: Stack, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "parley_cli", "top", "--json", "--watch", *options(scripted)),
        env=command_environment(scripted.gateway, tmp_path),
        stdout=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            first, second = [json.loads(await process.stdout.readline()) for _ in range(2)]
    finally:
        process.kill()
        await process.wait()
    assert second["window_s"] > first["window_s"] > 0


async def test_what_is_down_is_said_and_the_exit_code_is_1(parley: Run, scripted: Stack) -> None:
    finished = await parley(
        "top", "--metrics", f"gateway={scripted.metrics['gateway']}", "--metrics", f"asr={NOWHERE}"
    )
    assert (finished.exit_code, finished.err) == (1, "")
    assert (
        f" asr     down   nothing at {NOWHERE}: run 'parley up', or use --metrics"
        in finished.out.splitlines()
    )
    assert re.search(r"^ gateway .*MB", finished.out, re.MULTILINE)


async def test_ports_of_this_machine_can_be_given_at_once(parley: Run, scripted: Stack) -> None:
    ports = {name: url.split(":")[2].split("/")[0] for name, url in scripted.metrics.items()}
    given = ",".join(f"{name}={port}" for name, port in ports.items())
    view = (await parley("top", "--json", "--metrics", given)).json()
    assert [process["name"] for process in view["processes"]] == ["gateway", "asr", "llm", "tts"]


async def test_it_speaks_chinese(parley: Run) -> None:
    finished = await parley("top", "--metrics", f"asr={NOWHERE}", environment={"LC_ALL": "zh_CN.UTF-8"})
    assert f" asr     停止   {NOWHERE} 无应答" in finished.out


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--metrics", "cats=9464"], "gateway, asr, llm, tts"),
        (["--metrics", "asr"], "such as asr="),
        (["--metrics", "asr=https://host/metrics"], "such as asr="),
        (["--metrics", "asr=host:99999"], "such as asr="),
        (["--metrics", "asr=1", "--metrics", "asr=2"], "each once"),
        (["--watch"], "--json"),
        (["--once", "--json"], "--once"),
    ],
)
async def test_wrong_use_is_refused(parley: Run, wrong: list[str], words: str) -> None:
    finished = await parley("top", *wrong)
    assert (finished.exit_code, finished.out) == (2, "")
    assert words in " ".join(finished.err.split())


@asynccontextmanager
async def server(respond: Respond) -> AsyncIterator[str]:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await respond(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


def saying(*pieces: bytes) -> Respond:
    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.writelines(pieces)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return respond


async def without_end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"parley_asr_streams 1\n" * 1000)
        await writer.drain()


async def drop_by_drop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"#\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def says_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


OK = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (says_nothing, "slow"),
        (drop_by_drop, "slow"),
        (without_end, "too_large"),
        (saying(b"HTTP/1.1 404 Not Found\r\n\r\nno"), "status"),
        (saying(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"), "status"),
        (saying(b"HTTP/1.1 \r\n\r\n"), "not_metrics"),
        (saying(b"SSH-2.0-server\r\n"), "not_metrics"),
        (saying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000), "not_metrics"),
        (saying(OK, b"<html>hello</html>"), "not_metrics"),
        (saying(OK, b"\xff\xfe\x00"), "not_metrics"),
        (saying(OK), "not_metrics"),
        (saying(), "not_metrics"),
    ],
)
async def test_whatever_answers_in_place_of_a_process_is_a_reason(respond: Respond, reason: str) -> None:
    async with server(respond) as address:
        with pytest.raises(ScrapeError) as raised:
            await scrape(endpoint_from(address), timeout_s=0.5 if reason == "slow" else PATIENCE_S)
    assert raised.value.reason == reason


@pytest.mark.parametrize("address", [NOWHERE, "no-such-host.invalid:80", "a" * 300 + ":80", "xn--:80"])
async def test_nobody_there_is_a_reason(address: str) -> None:
    with pytest.raises(ScrapeError) as raised:
        await scrape(endpoint_from(address), timeout_s=PATIENCE_S)
    assert raised.value.reason == "unreachable"


async def test_a_hostile_process_is_shown_as_down_in_one_line(parley: Run) -> None:
    async with server(without_end) as address:
        finished = await parley("top", "--metrics", f"tts={address}")
    assert finished.exit_code == 1
    assert f" tts     down   {address} sends more than 1 MiB: is it a process of Parley?" in finished.out


class Terminal:
    """`parley top` in a terminal of its own."""

    def __init__(self, descriptor: int, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._descriptor = descriptor
        self._shown = b""

    def press(self, keys: bytes) -> None:
        os.write(self._descriptor, keys)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def echoes(self) -> bool:
        """Whether it shows what is typed, and gives lines: as a shell leaves it."""
        local_modes = termios.tcgetattr(self._descriptor)[3]
        return bool(local_modes & termios.ECHO and local_modes & termios.ICANON)

    async def wait_for(self, pattern: str) -> str:
        """Until it is shown; what was shown since the last time."""
        found: re.Match[str] | None = None
        async with asyncio.timeout(PATIENCE_S):
            while (found := re.search(pattern, self._shown.decode(errors="replace"))) is None:
                self._shown += await asyncio.to_thread(os.read, self._descriptor, 65_536)
        self._shown = b""
        return found.string


@asynccontextmanager
async def terminal(arguments: list[str], environment: dict[str, str]) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "parley_cli", "top", *arguments),
        env=environment | {"TERM": "xterm-256color"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=_own_terminal,
    )  # fmt: skip
    try:
        yield Terminal(ours, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(theirs)
        os.close(ours)


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("leave", [b"q", b"\x03"], ids=["q", "ctrl_c"])
async def test_the_live_screen_follows_its_terminal_and_leaves_it_as_it_was(
    scripted: Stack, tmp_path: Path, leave: bytes
) -> None:
    environment = command_environment(scripted.gateway, tmp_path)
    async with terminal(options(scripted), environment) as screen:
        screen.resize(80, 24)
        shown = await screen.wait_for(r"upstreams.*append p95")
        assert "\x1b[?1049h" in shown  # the alternate screen: what was there before comes back
        screen.resize(100, 30)
        await screen.wait_for(r"q quits   \d\d:\d\d:\d\d")
        screen.press(b"x")  # not a key that does anything
        await screen.wait_for(r"q quits   \d\d:\d\d:\d\d")
        screen.press(leave)
        await screen.wait_for(r"\x1b\[\?1049l")
        async with asyncio.timeout(PATIENCE_S):
            assert await screen.process.wait() == 0
        assert screen.echoes()
