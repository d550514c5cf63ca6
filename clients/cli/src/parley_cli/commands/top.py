"""`parley top`: a live view of the four processes, from their metrics."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live

from parley_cli.messages import message
from parley_cli.profiles import Profile, child_specs
from parley_cli.running import FAILED, run
from parley_cli.screen import out
from parley_cli.watching.drawing import draw
from parley_cli.watching.history import History
from parley_cli.watching.scraping import Endpoint, ScrapeError, endpoint_from, scrape
from parley_cli.watching.view import PROCESSES, View, build_view

_REFRESH_S = 1.0
_PLAIN_WIDTH = 100
_STANDARD_INPUT = 0


def top(
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="NAME=URL",
            help="watch only these: gateway=http://host:9464/metrics, or asr=9465,llm=9466 for ports of this machine",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="print one snapshot as text")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one snapshot as JSON")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="with --json: a line each second")] = False,
) -> None:
    """Watch sessions, latency, queues and health, live.

    Reads the metrics of the four processes; q ends it. Without a terminal it prints one snapshot. A snapshot takes a
    second, and its exit code is 1 when a process does not answer.
    """
    if watch and not as_json:
        raise typer.BadParameter("--watch goes with --json")
    if once and as_json:
        raise typer.BadParameter("--json prints one snapshot already; leave --once out")
    watcher = Watcher(_endpoints(metrics or []))
    if as_json:
        run(_print_json(watcher, is_endless=watch))
    elif once or not out.is_terminal or out.is_dumb_terminal:
        run(_print_once(watcher))
    else:
        run(_watch(watcher))


class Watcher:
    """Scrapes all processes, and remembers."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints
        self._histories = {name: History() for name in endpoints}

    async def look(self) -> None:
        """Scrape all at the same time. What fails is remembered as that process's problem."""
        async with asyncio.TaskGroup() as tasks:
            for name, endpoint in self._endpoints.items():
                tasks.create_task(self._scrape(name, endpoint), name=f"top.{name}")

    async def keep_looking(self, changed: Callable[[], None]) -> None:
        """Scrape each every second until cancelled; `changed` is called after each scrape. One that answers slowly does
        not hold up the others.
        """
        async with asyncio.TaskGroup() as tasks:
            for name, endpoint in self._endpoints.items():
                tasks.create_task(self._keep_scraping(name, endpoint, changed), name=f"top.{name}")

    def view(self) -> View:
        """Of what was seen last."""
        addresses = {name: endpoint.url for name, endpoint in self._endpoints.items()}
        return build_view(self._histories, addresses, time.time())

    async def _keep_scraping(self, name: str, endpoint: Endpoint, changed: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            await self._scrape(name, endpoint)
            changed()

    async def _scrape(self, name: str, endpoint: Endpoint) -> None:
        try:
            samples = await scrape(endpoint)
        except ScrapeError as error:
            self._histories[name].fail(
                message(f"scrape_{error.reason}", address=endpoint.address, detail=error.detail)
            )
        else:
            self._histories[name].add(time.monotonic(), samples)


def _endpoints(given: list[str]) -> dict[str, Endpoint]:
    """Where the metrics are: as told, or of what 'parley up' starts here."""
    if not given:
        specs = {spec.name: spec for spec in child_specs(Profile.EMBEDDED, any_port=False)}
        return {name: Endpoint("127.0.0.1", specs[name].metrics_port, "/metrics") for name in PROCESSES}
    found: dict[str, Endpoint] = {}
    for each in itertools.chain.from_iterable(part.split(",") for part in given):
        name, _, address = each.partition("=")
        if name not in PROCESSES or name in found:
            raise typer.BadParameter(f"{each!r}: NAME=URL with one of {', '.join(PROCESSES)}, each once")
        try:
            found[name] = endpoint_from(address)
        except ValueError:
            raise typer.BadParameter(f"{each!r}: such as {name}=http://127.0.0.1:9464/metrics") from None
    return {name: found[name] for name in PROCESSES if name in found}


async def _snapshot(watcher: Watcher) -> View:
    """After two looks, because what a processor does can only be seen between two."""
    await watcher.look()
    await asyncio.sleep(_REFRESH_S)
    await watcher.look()
    return watcher.view()


async def _print_once(watcher: Watcher) -> None:
    view = await _snapshot(watcher)
    width = min(out.width, _PLAIN_WIDTH)
    for line in draw(view, clock="", width=width):
        line.rstrip()
        out.print(line)
    _leave(view)


async def _print_json(watcher: Watcher, *, is_endless: bool) -> None:
    view = await _snapshot(watcher)
    print(json.dumps(asdict(view), ensure_ascii=False), flush=True)
    while is_endless:
        await asyncio.sleep(_REFRESH_S)
        await watcher.look()
        print(json.dumps(asdict(watcher.view()), ensure_ascii=False), flush=True)
    _leave(view)


def _leave(view: View) -> None:
    if not view.is_well:
        raise typer.Exit(FAILED)


async def _watch(watcher: Watcher) -> None:
    """Until q, Ctrl-C or the terminal goes."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    await watcher.look()
    with _keys(stop.set), Live(console=out, screen=True, auto_refresh=False) as live:

        def redraw() -> None:
            size = out.size
            clock = time.strftime("%H:%M:%S")
            lines = draw(watcher.view(), clock=clock, width=size.width, height=size.height)
            live.update(Group(*lines), refresh=True)

        redraw()
        loop.add_signal_handler(signal.SIGWINCH, redraw)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watcher.keep_looking(redraw), name="top.watch")
            await stop.wait()
            watching.cancel()
        loop.remove_signal_handler(signal.SIGWINCH)


@contextlib.contextmanager
def _keys(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at q, or when nobody can press keys any more. Keys come at once and are not shown, for so long."""
    if not os.isatty(_STANDARD_INPUT):
        yield
        return
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(_STANDARD_INPUT)

    def read() -> None:
        keys = b""
        with contextlib.suppress(OSError):  # the terminal has gone
            keys = os.read(_STANDARD_INPUT, 64)
        if not keys or b"q" in keys.lower():
            stop()

    tty.setcbreak(_STANDARD_INPUT)
    loop.add_reader(_STANDARD_INPUT, read)
    try:
        yield
    finally:
        loop.remove_reader(_STANDARD_INPUT)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(_STANDARD_INPUT, termios.TCSADRAIN, before)
