"""The supervisor with tiny children: ready, dying, started again, refused, stopped. Real processes, no ports."""

import asyncio
import os
import socket
import textwrap
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from parley_cli.supervisor import ChildEvent, ChildSpec, Supervisor, SupervisorError, check_ports, free_ports

# A guard against hanging, not a measurement.
PATIENCE_S = 60.0
SAY_READY = "print(json.dumps({'event': 'ready', 'grpc': 'host:1'}), flush=True)"
PREAMBLE = "import json, os, pathlib, signal, sys\n"


class Watch:
    """What the supervisor told, and a way to wait for it."""

    def __init__(self) -> None:
        self.events: list[ChildEvent] = []
        self._changed = asyncio.Event()

    def take(self, event: ChildEvent) -> None:
        self.events.append(event)
        self._changed.set()

    async def nth(self, kind: str, count: int) -> ChildEvent:
        while len(found := [event for event in self.events if event.kind == kind]) < count:
            self._changed.clear()
            await self._changed.wait()
        return found[count - 1]


Running = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Watch) -> Running:
    """Children by name and source, kept while the context lasts."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def start(ready_within_s: float = PATIENCE_S, **sources: str) -> AbstractAsyncContextManager[None]:
        ports = iter(free_ports(2 * len(sources)))
        specs = []
        for name, source in sources.items():
            (tmp_path / f"child_{name}.py").write_text(PREAMBLE + textwrap.dedent(source))
            environment = {"SCRATCH": str(tmp_path)}
            specs.append(ChildSpec(name, f"child_{name}", next(ports), next(ports), environment))
        return Supervisor(specs, tmp_path / "logs", watch.take).running(ready_within_s)

    return start


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_children_are_ready_inside_and_gone_afterwards(running: Running, watch: Watch) -> None:
    keep = f"{SAY_READY}\nsignal.pause()"
    async with asyncio.timeout(PATIENCE_S), running(asr=keep, gateway=keep):
        pids = {event.name: event.pid for event in watch.events if event.kind == "ready"}
        assert set(pids) == {"asr", "gateway"}
        assert all(is_alive(pid) for pid in pids.values())
        assert watch.events[-1].detail == "host:1"
    assert not any(is_alive(pid) for pid in pids.values())
    assert not [event for event in watch.events if event.kind == "died"]


async def test_a_child_is_told_its_ports(running: Running, tmp_path: Path) -> None:
    source = f"""
        (pathlib.Path(os.environ["SCRATCH"]) / "told").write_text(os.environ["PARLEY_ASR_PORT"])
        {SAY_READY}
        signal.pause()
    """
    async with asyncio.timeout(PATIENCE_S), running(asr=source):
        assert int((tmp_path / "told").read_text()) > 0


async def test_a_child_that_is_killed_is_reported_and_started_again(running: Running, watch: Watch) -> None:
    async with asyncio.timeout(PATIENCE_S), running(asr=f"{SAY_READY}\nsignal.pause()"):
        first = await watch.nth("ready", 1)
        os.kill(first.pid, 9)
        died = await watch.nth("died", 1)
        second = await watch.nth("ready", 2)
    assert died.detail == "ended by signal SIGKILL; starting it again"
    assert second.pid != first.pid


async def test_a_child_that_ends_by_itself_is_started_again(running: Running, watch: Watch) -> None:
    source = f"""
        marker = pathlib.Path(os.environ["SCRATCH"]) / "been here"
        {SAY_READY}
        if not marker.exists():
            marker.touch()
            sys.exit(3)
        signal.pause()
    """
    async with asyncio.timeout(PATIENCE_S), running(asr=source):
        died = await watch.nth("died", 1)
        await watch.nth("ready", 2)
    assert died.detail == "ended with code 3; starting it again"


async def test_a_wrong_configuration_ends_everything_with_the_childs_last_words(
    running: Running, watch: Watch
) -> None:
    refuse = (
        'print(json.dumps({"event": "refused", "message": "no such engine"}), file=sys.stderr); sys.exit(2)'
    )
    with pytest.raises(SupervisorError, match=r"^asr cannot start: no such engine \(logs are in "):
        async with asyncio.timeout(PATIENCE_S), running(asr=refuse, tts=f"{SAY_READY}\nsignal.pause()"):
            raise AssertionError("it was never ready")
    assert not any(is_alive(event.pid) for event in watch.events if event.pid)


async def test_a_wrong_configuration_after_a_restart_ends_everything_too(
    running: Running, watch: Watch
) -> None:
    source = f"""
        marker = pathlib.Path(os.environ["SCRATCH"]) / "been here"
        if marker.exists():
            print("it has gone", file=sys.stderr)
            sys.exit(2)
        marker.touch()
        {SAY_READY}
        sys.exit(1)
    """
    with pytest.raises(SupervisorError, match="asr cannot start: it has gone"):
        async with asyncio.timeout(PATIENCE_S), running(asr=source):
            await asyncio.Event().wait()


async def test_a_child_that_never_becomes_ready_is_given_up_with_its_last_words(
    running: Running, watch: Watch
) -> None:
    with pytest.raises(SupervisorError, match="asr cannot start: ModuleNotFoundError"):
        async with asyncio.timeout(PATIENCE_S), running(asr="import there_is_no_such_module"):
            raise AssertionError("it was never ready")
    assert len([event for event in watch.events if event.kind == "died"]) == 3


async def test_who_is_late_is_named_with_its_last_words(running: Running) -> None:
    late = 'print("loading", file=sys.stderr, flush=True); signal.pause()'
    with pytest.raises(SupervisorError, match="asr not ready within 0 s; asr said last: "):
        async with asyncio.timeout(PATIENCE_S), running(ready_within_s=0.0, asr=late):
            raise AssertionError("it was never ready")


async def test_lines_that_are_not_ready_lines_are_ignored(running: Running, watch: Watch) -> None:
    source = f"""
        for line in ("hello", "[]", "3", "null", '{{"event": 1}}', '{{"event": "ready"', "\\x00"):
            print(line, flush=True)
        {SAY_READY}
        signal.pause()
    """
    async with asyncio.timeout(PATIENCE_S), running(asr=source):
        assert [event.kind for event in watch.events] == ["starting", "ready"]


async def test_the_gateway_is_stopped_before_the_services(running: Running, tmp_path: Path) -> None:
    source = f"""
        def leave(*_):
            with (pathlib.Path(os.environ["SCRATCH"]) / "order").open("a") as order:
                order.write(__import__("__main__").__spec__.name + " ")
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        {SAY_READY}
        signal.pause()
    """
    async with asyncio.timeout(PATIENCE_S), running(asr=source, gateway=source):
        pass
    assert (tmp_path / "order").read_text() == "child_gateway child_asr "


async def test_what_fails_inside_comes_out_and_the_children_are_stopped(
    running: Running, watch: Watch
) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.timeout(PATIENCE_S), running(asr=f"{SAY_READY}\nsignal.pause()"):
            raise ZeroDivisionError
    assert raised.group_contains(ZeroDivisionError)
    assert not is_alive((await watch.nth("ready", 1)).pid)


def test_a_port_that_is_taken_is_told_with_the_variable_that_moves_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SupervisorError, match=f"port {port}, which tts needs.*set PARLEY_TTS_PORT"):
            check_ports([ChildSpec("tts", "child", port, free_ports(1)[0])])
        with pytest.raises(SupervisorError, match="set PARLEY_TTS_METRICS_PORT"):
            check_ports([ChildSpec("tts", "child", free_ports(1)[0], port)])


def test_two_variables_with_the_same_port_are_named() -> None:
    first, second, third = free_ports(3)
    specs = [ChildSpec("asr", "child", first, second), ChildSpec("tts", "child", third, first)]
    expected = f"PARLEY_ASR_PORT and PARLEY_TTS_METRICS_PORT are both {first}"
    with pytest.raises(SupervisorError, match=expected):
        check_ports(specs)


def test_free_ports_are_free() -> None:
    first, second = free_ports(2)
    check_ports([ChildSpec("asr", "child", first, second)])
