"""Scrapes by the thousand, wrong paths and slow readers at the metrics and health ports, while people talk."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.figures import Figure, count_figure, quantile, quantile_spread
from bench.load import run_load, running_load
from bench.plan import Plan, PlanShape, Spread, engine_scripts, make_plan
from bench.records import SessionRecord
from bench.scenario import Bench, Findings, Plot
from bench.stack import PROCESSES, Stack, running_stack
from bench.turns import measured_turns

TITLE = "Metrics and health ports under attack while people talk"
ORDER = 55

_SCRAPERS = 8
_SLOW_READERS_EACH = 6
_ANSWER_S = 5.0
_WRONG_PATHS = ("/", "/metricsx", "/metrics/../readyz", "/%6detrics", "//metrics", "/admin", f"/{'a' * 4000}")


@dataclass
class _Tally:
    """What came of the requests. wrong: those that got another status than they should, or none."""

    asked_count: int = 0
    wrong: list[str] = field(default_factory=list)


async def run(bench: Bench) -> Findings:
    """See the module's docstring."""
    plan = make_plan(bench.seed, plan_shape(is_short=bench.is_short))
    requests = planned_requests(bench.seed, 2_000 if bench.is_short else 10_000)
    async with running_stack(bench.folder, engine_scripts(plan.turns)) as stack:
        bench.say(f"{len(plan.sessions)} people, nobody scrapes")
        quiet = await run_load(bench.folder, stack.gateway, plan)
        bench.say(
            f"{len(plan.sessions)} people, {len(requests)} requests, {_slow_count()} connections that do not move"
        )
        tally, scraped = await _attacked(bench, stack, plan, requests)
    figures = {
        "scrape_p95_ratio": _ratio_figure(plan, scraped, quiet, len(requests)),
        "scrape_failures": count_figure(
            len(tally.wrong),
            tally.asked_count,
            "of these requests those that were not answered as they should: pages with 200, wrong paths with 404"
            + (f"; first: {tally.wrong[0]}" if tally.wrong else ""),
        ),
        "scrape_harmed_turns": count_figure(
            sum(turn.outcome != "COMPLETED" for record in scraped for turn in record.turns)
            + sum(bool(record.refusal or record.ended_by) for record in scraped),
            sum(len(record.turns) for record in scraped),
            "turns without a whole reply, and sessions refused or broken, meanwhile",
        ),
    }
    plot = Plot(
        "What a scraped Parley adds to a turn",
        "cdf",
        {"nobody scrapes": overheads_ms(plan, quiet), "scraped all the time": overheads_ms(plan, scraped)},
        x_label="voice to voice beyond end silence and engines, ms",
    )
    return Findings(figures, (plot,))


def plan_shape(*, is_short: bool) -> PlanShape:
    """Eight people."""
    return PlanShape(
        session_count=8,
        turn_count=2 if is_short else 12,
        cycle_ms=4000,
        reply_ms=900,
        stagger_ms=2000,
        asr_final=Spread(20, 60),
        llm_first_token=Spread(80, 160),
        tts_first_audio=Spread(40, 80),
    )


def planned_requests(seed: int, count: int) -> list[tuple[str, str, int]]:
    """Process, path and the status that has to come, for each request: every tenth path is wrong."""
    chance = random.Random(f"{seed} scrapes")
    planned = []
    for index in range(count):
        process = chance.choice(PROCESSES)
        if index % 10 == 9:
            planned.append((process, chance.choice(_WRONG_PATHS), 404))
        else:
            planned.append(
                (process, chance.choice(("/metrics", "/metrics", "/metrics", "/readyz", "/healthz")), 200)
            )
    return planned


def _slow_count() -> int:
    return _SLOW_READERS_EACH * len(PROCESSES)


async def _attacked(
    bench: Bench, stack: Stack, plan: Plan, requests: list[tuple[str, str, int]]
) -> tuple[_Tally, list[SessionRecord]]:
    tally = _Tally()
    async with running_load(bench.folder, stack.gateway, plan) as load:
        await load.settled()
        async with asyncio.TaskGroup() as tasks:
            slow = [
                tasks.create_task(_never_finish(stack.http_address(name), index), name=f"slow.{name}.{index}")
                for name in PROCESSES
                for index in range(_SLOW_READERS_EACH)
            ]
            pace_s = _SCRAPERS * load.length_s / len(requests)
            waiting = iter(requests)
            scrapers = [
                tasks.create_task(_scrape(stack, waiting, pace_s, tally), name=f"scrape.{index}")
                for index in range(_SCRAPERS)
            ]
            records = await load.records()
            await asyncio.wait(scrapers)
            for task in slow:
                task.cancel()
    return tally, records


async def _scrape(
    stack: Stack, waiting: Iterator[tuple[str, str, int]], pace_s: float, tally: _Tally
) -> None:
    """Take requests off the list, one every pace_s, until none is left."""
    loop = asyncio.get_running_loop()
    due_at_s = loop.time()
    for process, path, wanted in waiting:
        due_at_s = max(due_at_s + pace_s, loop.time() - 1.0)
        await asyncio.sleep(max(0.0, due_at_s - loop.time()))
        tally.asked_count += 1
        try:
            async with asyncio.timeout(_ANSWER_S):
                status = await _status(stack.http_address(process), path)
        except (OSError, TimeoutError, ValueError) as error:
            tally.wrong.append(f"{process} {path[:20]}: {type(error).__name__}")
            continue
        if status != wanted:
            tally.wrong.append(f"{process} {path[:20]}: {status}")


async def _status(address: str, path: str) -> int:
    """The status of a GET whose answer is read to its end. ValueError for an answer that is no HTTP."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer[9:12])


async def _never_finish(address: str, index: int) -> None:
    """Sit on a connection: half of them send no whole request, the others ask and do not read. Again when dropped."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, int(port), limit=1)
            writer.write(
                b"GET /metrics HTTP/1.1\r\nX-Slow: " if index % 2 else b"GET /metrics HTTP/1.1\r\n\r\n"
            )
            try:
                await asyncio.sleep(1.0)
                while not reader.at_eof():
                    await reader.read(1)
                    await asyncio.sleep(0.5)
            finally:
                writer.transport.abort()
        except OSError:
            await asyncio.sleep(0.1)


def overheads_ms(plan: Plan, records: list[SessionRecord]) -> list[float]:
    """Of every turn that was answered to its end."""
    return [turn.overhead_ms for turn in measured_turns(plan, records)]


def _ratio_figure(
    plan: Plan, scraped: list[SessionRecord], quiet: list[SessionRecord], request_count: int
) -> Figure:
    with_ms, without_ms = (
        [turn.voice_to_voice_ms for turn in measured_turns(plan, records)] for records in (scraped, quiet)
    )
    without = quantile(without_ms, 0.95)
    low, high = quantile_spread(with_ms, 0.95)
    added = [quantile(overheads_ms(plan, records), 0.95) for records in (scraped, quiet)]
    how = (
        f"voice-to-voice p95 of {len(plan.sessions)} people during {request_count} requests at the ports of all four"
        f" processes, a tenth of them for unknown paths, and {_slow_count()} connections that hardly read or write,"
        f" ÷ without; p95 beyond end silence and engines {added[0]:.0f} ms, without {added[1]:.0f} ms. To be <= 1.1"
    )
    return Figure(
        quantile(with_ms, 0.95) / without, "ratio", len(with_ms), (low / without, high / without), how
    )
