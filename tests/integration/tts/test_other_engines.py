"""The tts process with the other engines: scripted failures, GPT-SoVITS away and back, sherpa-onnx models."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from parley.tts.v1 import synthesis_service_pb2 as pb
from parley_servicekit.faults import FaultCode
from support.fake_gpt_sovits import FakeGptSovits, fake_gpt_sovits
from support.processes import StartError
from support.tiny_vits import write_tiny_vits
from support.tts_client import END, SERVICE, Tts, collect, config, fault_of, running_tts, stream, text


def script(folder: Path, **fields: Any) -> str:
    (folder / "script.json").write_text(json.dumps(fields))
    return str(folder / "script.json")


def voices_file(folder: Path) -> str:
    voice = {"name": "anna", "reference_audio_path": "/v/a.wav", "reference_language": "en"}
    (folder / "voices.json").write_text(json.dumps({"voices": [voice]}))
    return str(folder / "voices.json")


async def test_a_failed_phrase_is_told_and_the_stream_goes_on(tmp_path: Path) -> None:
    failures = [{"phrase": 2, "kind": "failed"}, {"phrase": 3, "kind": "hang"}]
    async with running_tts(
        ENGINE="scripted", SCRIPT_FILE=script(tmp_path, failures=failures), PHRASE_TIMEOUT_MS="200"
    ) as tts:
        spoken = await stream(
            tts.stub, [config(), text("One is here. Two is here. Three is here. Four."), END]
        )
        assert [status.code for status in spoken.failures] == [14, 4]
        assert spoken.finished is not None
        assert [mark.index for mark in spoken.marks if mark.HasField("duration")] == [0, 1, 2, 3]


async def test_an_engine_that_ends_the_process_leaves_an_exit_code(tmp_path: Path) -> None:
    failures = [{"phrase": 1, "after_ms": 100, "kind": "exit"}]
    async with running_tts(ENGINE="scripted", SCRIPT_FILE=script(tmp_path, failures=failures)) as tts:
        fault = await fault_of(stream(tts.stub, [config(), text("One is here."), END]))
        assert fault.code is FaultCode.UNAVAILABLE
        assert await tts.process.wait() == 70


async def test_a_cancelled_call_stops_a_stuck_engine(tmp_path: Path) -> None:
    path = script(tmp_path, failures=[{"phrase": 1, "kind": "hang"}])
    async with running_tts(ENGINE="scripted", SCRIPT_FILE=path, MAX_STREAMS="1") as tts:
        call = tts.stub.StreamingSynthesize(timeout=20)
        await call.write(config())
        await call.write(text("One is here. "))
        await asyncio.sleep(0.05)
        call.cancel()
        await _until_spoken(tts)


async def test_gpt_sovits_away_and_back(tmp_path: Path) -> None:
    async with fake_gpt_sovits() as first:
        url = first.url
    settings = {"ENGINE": "gpt-sovits", "GPT_SOVITS_URL": url, "VOICES_FILE": voices_file(tmp_path)}
    async with running_tts(**settings, GPT_SOVITS_SETTLE_MS="0") as tts:
        assert not await _is_serving(tts)
        spoken = await stream(tts.stub, [config(), text("Hello."), END])
        (status,) = spoken.failures
        assert status.code == grpc.StatusCode.UNAVAILABLE.value[0]
        fake = FakeGptSovits()
        server = await asyncio.start_server(fake.converse, "127.0.0.1", int(url.rpartition(":")[2]))
        async with server:
            deadline = time.monotonic() + 15
            while not await _is_serving(tts):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            spoken = await stream(tts.stub, [config(), text("Hello there. Good day."), END])
            assert not spoken.failures
            assert len(spoken.audio) == 2 * (2 * 12_000 + 3_600)  # two phrases of half a second and a pause


async def test_sherpa_speaks_and_keeps_silent_about_what_it_cannot_say(tmp_path: Path) -> None:
    write_tiny_vits(tmp_path / "babble")
    async with running_tts(ENGINE="sherpa", MODEL_FOLDER=str(tmp_path / "babble")) as tts:
        spoken = await stream(tts.stub, [config(), text("hello there. bye now. Ωμέγα"), END])
        assert spoken.finished.voice == "babble" and spoken.audio
        assert len(spoken.failures) == 1
        assert "μέγα" not in tts.process.logs()
        assert "synthesis.ended" in tts.process.logs()


@pytest.mark.parametrize(
    "settings",
    [
        {"ENGINE": "sherpa", "MODEL_FOLDER": "bad"},
        {"ENGINE": "sherpa", "MODEL_FOLDER": "empty"},
        {"ENGINE": "scripted", "SCRIPT_FILE": "bad/tokens.txt"},
        {"ENGINE": "gpt-sovits", "GPT_SOVITS_URL": "http://127.0.0.1:9", "VOICES_FILE": "bad/tokens.txt"},
        {"DEFAULT_VOICE": "nobody"},
    ],
)
async def test_what_cannot_work_ends_at_start_with_code_2(tmp_path: Path, settings: dict[str, str]) -> None:
    write_tiny_vits(tmp_path / "bad", omit="sample_rate")
    (tmp_path / "empty").mkdir()
    placed = {
        name: str(tmp_path / value) if name in ("MODEL_FOLDER", "SCRIPT_FILE", "VOICES_FILE") else value
        for name, value in settings.items()
    }
    with pytest.raises(StartError) as caught:
        async with running_tts(**placed):
            pass
    assert caught.value.exit_code == 2


async def _is_serving(tts: Tts) -> bool:
    health = health_pb2_grpc.HealthStub(tts.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _until_spoken(tts: Tts) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            spoken = await collect(tts.stub.Synthesize(pb.SynthesizeRequest(text="Two is here.")))
            assert spoken.finished is not None
            return
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
