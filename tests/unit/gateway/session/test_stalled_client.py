"""A client that stops reading: what is sent for it stays little, and a reply goes on where it stopped."""

import asyncio

from parley_gateway.session import outputs
from parley_gateway.session.outbox import Outbox
from support.session_rig import Services, in_session
from support.session_services import ChatModelDouble

_LONG = ["word after word, "] * 200


async def test_little_audio_waits_for_a_client_that_does_not_read() -> None:
    async with in_session(Services(model=ChatModelDouble(*_LONG)), reads=False) as rig:
        rig.session.take_text("hello")
        await asyncio.sleep(8)  # less than a reply may make no progress
        waiting = await _read_for(rig.session.outbox, 0.1)
        audio = [each.audio for each in waiting if isinstance(each, outputs.ReplyAudio)]
        assert 0 < sum(each.duration_ms for each in audio) <= 1000
        more = await _read_for(rig.session.outbox, 5)
        following = [each.audio for each in more if isinstance(each, outputs.ReplyAudio)]
        assert following[0].start_offset_ms == audio[-1].start_offset_ms + audio[-1].duration_ms
        assert not any(isinstance(each, outputs.ReplyEndedOutput) for each in waiting + more)


async def _read_for(outbox: Outbox, seconds: float) -> list[outputs.Output]:
    found: list[outputs.Output] = []
    try:
        async with asyncio.timeout(seconds):
            while (output := await outbox.get()) is not None:
                found.append(output)
    except TimeoutError:
        pass
    return found
