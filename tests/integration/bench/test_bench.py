"""A tiny scenario through the whole kit: plan, stack, load process, figures, report; and the command itself."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from bench.__main__ import _write
from bench.figures import quantile_figure
from bench.load import run_load, running_load
from bench.plan import END_SILENCE_MS, PlanShape, engine_scripts, make_plan
from bench.report import made_report, read_report
from bench.running import RunOptions, ran
from bench.scenario import Bench, Findings, Scenario
from bench.stack import running_stack
from bench.turns import measured_turns, planned_turn_count

ROOT = Path(__file__).parents[3]


async def test_people_say_what_was_planned_and_note_what_came_back(tmp_path: Path) -> None:
    plan = make_plan(3, PlanShape(session_count=3, turn_count=2, stagger_ms=500, anywhere_share=1 / 3))
    async with running_stack(tmp_path, engine_scripts(plan.turns)) as stack:
        before = stack.usage()
        records = await run_load(tmp_path, stack.gateway, plan, process_count=2)
        after = stack.usage()
        metrics = await stack.metrics("gateway")
    assert [record.index for record in records] == [0, 1, 2]
    assert [len(record.turns) for record in records] == [2, 2, 2]
    measured = list(measured_turns(plan, records))
    assert len(measured) == planned_turn_count(plan) == 6
    for record in records:
        session = plan.sessions[record.index]
        assert (record.refusal, record.ended_by, record.errors) == (None, "", [])
        assert record.sent_frame_count == session.frame_count
        assert [turn.heard_text for turn in record.turns] == [script.heard for script in plan.turns]
    for each in measured:
        assert set(each.turn.stages_ms) == set(each.scripted_ms())
        # Nobody answers before the end silence is over and the engines have taken their time.
        assert each.stage_sum_ms > each.script.engines_ms - 10
        assert each.voice_to_voice_ms > END_SILENCE_MS - 60 + each.script.engines_ms
    assert all(after[name].cpu_s >= before[name].cpu_s for name in before)
    assert metrics['parley_gateway_replies_total{outcome="completed"}'] == 6


async def test_a_full_gateway_refuses_and_the_refusal_is_noted(tmp_path: Path) -> None:
    plan = make_plan(3, PlanShape(session_count=2, turn_count=9, stagger_ms=1000))
    async with (
        running_stack(
            tmp_path, engine_scripts(plan.turns), {"PARLEY_GATEWAY_SESSION_MAX_COUNT": "1"}
        ) as stack,
        running_load(tmp_path, stack.gateway, plan) as load,
    ):
        await load.settled()
        records = await load.records(leave_now=True)
    (refusal,) = [record.refusal for record in records if record.refusal is not None]
    assert refusal.reason == "AT_CAPACITY"
    assert refusal.retry_after_ms


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no process to a CPU")
async def test_a_killed_process_comes_back_at_its_address_and_on_its_cpu(tmp_path: Path) -> None:
    cpu = {min(os.sched_getaffinity(0))}
    plan = make_plan(3, PlanShape(turn_count=1))
    async with running_stack(tmp_path, engine_scripts(plan.turns), pinned={"llm": cpu}) as stack:
        pid = stack.pids["llm"]
        await stack.wait_restarted("llm", stack.send_signal("llm", signal.SIGKILL))
        assert stack.pids["llm"] != pid
        threads = [thread.id for thread in psutil.Process(stack.pids["llm"]).threads()]
        assert all(os.sched_getaffinity(thread) == cpu for thread in threads)
        records = await run_load(tmp_path, stack.gateway, plan)
    assert len(list(measured_turns(plan, records))) == 1


def test_a_scenario_becomes_a_report_and_one_that_fails_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fine(bench: Bench) -> Findings:
        bench.say(f"seed {bench.seed}")
        return Findings({"start_ready_s": quantile_figure([1.0, 2.0], 0.5, "s", "made up by a test")})

    async def broken(bench: Bench) -> Findings:
        raise RuntimeError(f"no luck in {bench.folder}")

    async def again(bench: Bench) -> Findings:
        return await fine(bench)

    scenarios = [Scenario(run.__name__, run.__name__, 1, run) for run in (fine, broken, again)]
    outcomes = ran(scenarios, RunOptions(seed=5, is_short=True), Console())
    _write(made_report({"cores": 1}, "abc", outcomes), tmp_path)
    assert [bool(outcome.problem) for outcome in outcomes] == [False, True, True]
    assert "seed 5" in capsys.readouterr().out
    assert read_report(tmp_path / "report.json").figures.keys() == {"start_ready_s"}
    page = (tmp_path / "report.html").read_text()
    assert "no luck in the scratch folder" in page
    assert "start_ready_s was measured twice" in page
    assert str(tmp_path.parents[1]) not in page


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_wrong_use_ends_with_2(tmp_path: Path) -> None:
    unknown = bench("no-such-scenario")
    assert unknown.returncode == 2
    assert "no such scenario: no-such-scenario" in unknown.stderr
    nothing = bench("compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("a.json: No such file")


def test_two_reports_are_compared(tmp_path: Path) -> None:
    def report(name: str, value: float) -> str:
        figure = {"value": value, "unit": "ms", "n": 9, "spread": [value, value], "how": "x"}
        path = tmp_path / name
        path.write_text(
            json.dumps({"machine": {}, "commit": "", "figures": {"gateway_overhead_p95_ms": figure}})
        )
        return str(path)

    told = bench("compare", report("a.json", 20), report("b.json", 10))
    assert told.returncode == 0
    assert "0.50" in told.stdout
    assert "better" in told.stdout


def test_ctrl_c_keeps_what_is_finished() -> None:
    async def fine(_: Bench) -> Findings:
        return Findings({"start_ready_s": quantile_figure([1.0], 0.5, "s", "made up by a test")})

    async def stopped(_: Bench) -> Findings:
        raise KeyboardInterrupt

    scenarios = [Scenario(run.__name__, run.__name__, 1, run) for run in (fine, stopped, fine)]
    outcomes = ran(scenarios, RunOptions(seed=5, is_short=True), Console())
    assert [outcome.problem for outcome in outcomes] == ["", "stopped by hand", "stopped by hand"]
    assert list(made_report({}, "", outcomes).figures) == ["start_ready_s"]
