"""One conversation, and twenty at once: what Parley adds to a turn beyond the end silence and the engines."""

from bench.load import run_load
from bench.plan import PlanShape, engine_scripts, make_plan
from bench.scenario import Bench, Findings
from bench.stack import running_stack

TITLE = "One conversation, and twenty at once"
ORDER = 10


async def run(bench: Bench) -> Findings:
    """See the module's docstring."""
    plan = make_plan(bench.seed, PlanShape(session_count=1, turn_count=3))
    async with running_stack(bench.folder, engine_scripts(plan.turns)) as stack:
        for record in await run_load(bench.folder, stack.gateway, plan):
            bench.say(f"{record}")
            for turn in record.turns:
                v = turn.voice_to_voice_ms
                script = plan.turns[turn.index % len(plan.turns)]
                bench.say(f"{v} {v and v - 640 - script.engines_ms} {sum(turn.stages_ms.values())}")
    return Findings({})
