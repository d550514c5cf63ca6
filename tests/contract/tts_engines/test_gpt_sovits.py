"""What GPT-SoVITS does on the wire, good and bad, and what the engine makes of it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from parley_servicekit.faults import Fault, FaultCode
from parley_tts.engines.gpt_sovits import GptSovitsEngine
from parley_tts.ports import SpeechOptions, SpokenWord
from support.fake_gpt_sovits import RATE_HZ, FakeGptSovits, fake_gpt_sovits
from support.gpt_sovits_engine import gpt_sovits

_RECORDINGS = os.environ.get("GPT_SOVITS_EXCHANGES", "")


@pytest.fixture
async def fake() -> AsyncIterator[FakeGptSovits]:
    async with fake_gpt_sovits() as server:
        yield server


async def sample_count(engine: GptSovitsEngine, options: SpeechOptions | None = None) -> int:
    count = 0
    async with aclosing(engine.open_stream(options or SpeechOptions()).speak("Words of a caller.")) as pieces:
        async for piece in pieces:
            assert not isinstance(piece, SpokenWord)
            count += len(piece)
    return count


async def test_streamed_chunks_become_every_sample_though_they_cut_samples(fake: FakeGptSovits) -> None:
    async with gpt_sovits(fake.url) as engine:
        assert await sample_count(engine) == RATE_HZ // 2


async def test_the_request_is_what_the_server_needs(fake: FakeGptSovits) -> None:
    async with gpt_sovits(fake.url) as engine:
        await sample_count(engine)
        await sample_count(engine, SpeechOptions(voice="bo", language_code="zh-HK", speed=1.5, seed=-1))
        await sample_count(engine, SpeechOptions(voice="bo"))
    first, second, third = fake.requests
    assert first == {
        "text": "Words of a caller.",
        "text_lang": "en",
        "ref_audio_path": "/voices/anna.wav",
        "prompt_text": "Hi.",
        "prompt_lang": "en",
        "text_split_method": "cut0",
        "batch_size": 1,
        "media_type": "wav",
        "streaming_mode": 3,
        "fragment_interval": 0.05,
        "speed_factor": 1.0,
        "seed": 1,
    }
    assert (second["text_lang"], second["prompt_lang"], second["speed_factor"]) == ("yue", "zh", 1.5)
    assert second["seed"] == (1 << 32) - 1
    assert third["text_lang"] == "zh"


@pytest.mark.parametrize(
    "behaviour",
    [
        "missing_reference",
        "unspeakable",
        "header_only",
        "failed_inference",
        "failed_midway",
        "silence_at_16_khz",
        "refused",
        "not_audio",
    ],
)
async def test_a_failure_is_told_as_one_and_the_next_phrase_is_spoken(
    fake: FakeGptSovits, behaviour: str
) -> None:
    async with gpt_sovits(fake.url) as engine:
        fake.behaviour = behaviour
        async with asyncio.timeout(5):
            with pytest.raises(Fault) as caught:
                await sample_count(engine)
        assert caught.value.reason == "SYNTHESIS_FAILED"
        assert "caller" not in str(caught.value)
        fake.behaviour = "speech"
        assert await sample_count(engine) == RATE_HZ // 2


async def test_one_request_at_a_time_however_many_ask(fake: FakeGptSovits) -> None:
    async with gpt_sovits(fake.url) as engine, asyncio.TaskGroup() as tasks:
        for number in range(6):
            tasks.create_task(sample_count(engine), name=f"phrase {number}")
    assert len(fake.requests) == 6
    assert fake.most_running_count == 1


async def test_two_servers_are_used_at_once(fake: FakeGptSovits) -> None:
    async with fake_gpt_sovits() as other, gpt_sovits(fake.url, other.url) as engine:
        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(sample_count(engine), name=f"phrase {number}")
        assert fake.requests and other.requests


async def test_too_many_waiting_phrases_and_too_long_waits_are_refused(fake: FakeGptSovits) -> None:
    fake.behaviour = "held"
    async with gpt_sovits(fake.url, waiting_max_count=1, wait_timeout_ms=50) as engine:
        speaking = engine.open_stream(SpeechOptions()).speak("one")
        await anext(speaking)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(_fault_of(engine), name="waits")
            await asyncio.sleep(0)
            refused = await _fault_of(engine)
        assert refused.code is FaultCode.RESOURCE_EXHAUSTED
        assert waiting.result().code is FaultCode.RESOURCE_EXHAUSTED
        await speaking.aclose()


async def test_a_server_rests_after_a_cancelled_phrase(fake: FakeGptSovits) -> None:
    fake.behaviour = "held"
    async with gpt_sovits(fake.url, settle_ms=150) as engine:
        speaking = engine.open_stream(SpeechOptions()).speak("one")
        await anext(speaking)
        loop = asyncio.get_running_loop()
        await speaking.aclose()
        stopped_at = loop.time()
        fake.behaviour = "speech"
        assert await sample_count(engine) == RATE_HZ // 2
        assert loop.time() - stopped_at >= 0.149


async def test_an_unreachable_server_is_unavailable_and_told(fake: FakeGptSovits) -> None:
    async with fake_gpt_sovits() as gone:
        url = gone.url
    async with gpt_sovits(fake.url) as engine:
        engine._urls = (url,)
        with pytest.raises(Fault) as caught:
            await engine.ensure_available()
        assert caught.value.code is FaultCode.UNAVAILABLE
        assert not engine.is_available


async def test_a_server_that_goes_away_is_noticed() -> None:
    async with fake_gpt_sovits() as fake:
        engine_context = gpt_sovits(fake.url)
        engine = await engine_context.__aenter__()
    try:
        fault = await _fault_of(engine)
        assert fault.code is FaultCode.UNAVAILABLE
        async with asyncio.timeout(1):
            await engine.wait_lost()
    finally:
        await engine_context.__aexit__(None, None, None)


async def test_warming_up_lets_every_voice_speak_the_default_last(fake: FakeGptSovits) -> None:
    async with gpt_sovits(fake.url, warms_up=True):
        pass
    assert [request["ref_audio_path"] for request in fake.requests] == ["/voices/bo.wav", "/voices/anna.wav"]


async def _fault_of(engine: GptSovitsEngine) -> Fault:
    with pytest.raises(Fault) as caught:
        await sample_count(engine)
    return caught.value


def _recordings() -> list[str]:
    folder = Path(_RECORDINGS)
    if not _RECORDINGS or not (folder / "exchanges.jsonl").is_file():
        return []
    return ["stream_1_wav", "stream_2_wav", "stream_3_wav", "stream_3_ogg", "fail_stream_midway", "neg_topk"]


@pytest.mark.skipif(not _recordings(), reason="GPT_SOVITS_EXCHANGES names no folder of recordings")
@pytest.mark.parametrize("name", _recordings() or ["none"])
async def test_recorded_answers_of_the_real_server(fake: FakeGptSovits, name: str) -> None:
    folder = Path(_RECORDINGS)
    lines = (folder / "exchanges.jsonl").read_text().splitlines()
    exchange = next(found for line in lines if (found := json.loads(line))["name"] == name)
    head = "\r\n".join(exchange["head"]) + "\r\n\r\n"
    fake.behaviour = "raw"
    fake.raw_response = head.encode() + (folder / f"{name}.body").read_bytes()
    async with gpt_sovits(fake.url) as engine:
        if name.endswith("_wav"):
            assert await sample_count(engine) == (exchange["body_len"] - 44) // 2
        else:
            assert (await _fault_of(engine)).reason == "SYNTHESIS_FAILED"
