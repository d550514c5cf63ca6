"""A session whose task is ended from outside, as when the process goes down under it."""

import asyncio

from parley_gateway.conversation import ReplyOutcome
from parley_gateway.session import outputs
from support.session_rig import Services, in_session
from support.session_services import ChatModelDouble

_LONG = ["word after word, "] * 200


async def test_the_end_of_a_session_that_was_cut_off_in_the_middle_of_a_reply_changes_nothing() -> None:
    async with in_session(Services(model=ChatModelDouble(*_LONG))) as rig:
        rig.session.take_text("hello")
        await rig.until(outputs.ReplyAudio)
        (running,) = [task for task in asyncio.all_tasks() if task.get_name() == "session"]
        running.cancel()
        ended = await rig.ended()
        assert ended.outcome is ReplyOutcome.FAILED
        rig.session.end()  # what the entrypoint does when the stream is over
