"""The asr process as a whole: overload, failing engines, drain, kill, refusal to start."""

import asyncio
import time
import urllib.request
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from contract.asr_engines.made_models import make_ctc, make_transducer, make_voice_activity_model
from grpc_health.v1 import health_pb2, health_pb2_grpc
from integration.asr.calls import (
    END,
    FINISH,
    PCM_16K,
    Client,
    chunk,
    chunks,
    config,
    fault_of,
    s16,
    silence,
    story,
    tone,
)
from integration.asr.conftest import SCRIPT, scripted_env

from parley.asr.v1 import recognition_service_pb2 as pb
from parley.audio.v1 import audio_pb2
from parley_servicekit.faults import Fault, FaultCode
from support.processes import StartedProcess, StartError, started_process

ONE_UTTERANCE = np.concatenate((silence(300), tone(900), silence(900)))


async def test_one_call_too_many_is_refused_at_once_with_a_hint(tmp_path: Path) -> None:
    env = scripted_env(tmp_path, SCRIPT, MAX_STREAMS="2", MAX_RECORDINGS="1")
    async with started_process("parley_asr", env) as process:
        client = Client(process.grpc_address)
        held = [client.stub.StreamingRecognize() for _ in range(2)]
        for call in held:
            await call.write(config())
            await call.read()
        began = time.monotonic()
        third = client.stub.StreamingRecognize()
        fault = await fault_of(third)
        assert time.monotonic() - began < 0.1 + 0.4  # the promise, and what a shared machine adds
        assert fault.code is FaultCode.RESOURCE_EXHAUSTED and fault.reason == "AT_CAPACITY"
        assert fault.retry_after_ms is not None
        held[0].cancel()
        await asyncio.sleep(0.2)
        assert "ENDED" in story(await client.recognize_live([config(), *chunks(ONE_UTTERANCE), END]))
        await client.close()


@pytest.mark.parametrize(("failure", "code"), [("fault", 13), ("hang", 4)])
async def test_a_failing_utterance_is_told_and_the_stream_goes_on(
    failure: str, code: int, tmp_path: Path
) -> None:
    script = {"utterances": [{"text": "a", "failure": failure}, {"text": "good"}]}
    async with started_process(
        "parley_asr", scripted_env(tmp_path, script, DECODE_TIMEOUT_MS="300")
    ) as process:
        client = Client(process.grpc_address)
        responses = await client.recognize_live(
            [config(), *chunks(ONE_UTTERANCE), *chunks(ONE_UTTERANCE), END]
        )
        told = [word for word in story(responses) if word not in ("STARTED", "PAUSED")]
        assert told == ["model:scripted", "ENDED", f"failed:{code}", "final:", "ENDED", "final:good"]
        await client.close()


async def test_an_engine_that_ends_the_process_fails_its_calls_and_nothing_hangs(tmp_path: Path) -> None:
    script = {"utterances": [{"text": "a", "failure": "crash"}]}
    async with started_process("parley_asr", scripted_env(tmp_path, script)) as process:
        client = Client(process.grpc_address)
        with pytest.raises(Exception, match="UNAVAILABLE"):
            await client.recognize_live([config(), *chunks(ONE_UTTERANCE), END])
        assert await process.wait() == 70
        await client.close()


async def test_killing_the_process_fails_its_calls_at_once(tmp_path: Path) -> None:
    async with started_process("parley_asr", scripted_env(tmp_path, SCRIPT)) as process:
        client = Client(process.grpc_address)
        call = client.stream()
        await call.write(config())
        await call.read()
        process.kill()
        assert (await fault_of(call)).code is FaultCode.UNAVAILABLE
        await client.close()


async def test_a_drain_lets_the_utterance_finish_and_ends_idle_streams(tmp_path: Path) -> None:
    async with started_process("parley_asr", scripted_env(tmp_path, SCRIPT)) as process:
        client = Client(process.grpc_address)
        idle, speaking = client.stream(), client.stream()
        for call in (idle, speaking):
            await call.write(config())
            await call.read()
        await speaking.write(chunk(s16(tone(900))))
        assert story([await speaking.read()]) == ["STARTED"]
        process.terminate()
        assert (await fault_of(idle)).reason == "DRAINING"
        refused = await fault_of(client.stream())
        assert refused.code is FaultCode.UNAVAILABLE
        await speaking.write(FINISH)
        told = []
        try:
            while (response := await speaking.read()) is not grpc.aio.EOF:
                told += story([response])
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert told[-2:] == ["ENDED", "final:what is the time"]
        assert await process.wait() == 0
        await client.close()


MULAW_8K = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_MULAW, sample_rate_hertz=8_000)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RECORDING_MAX_BYTES": "16000"}, "larger than 16000 bytes"),
        ({"RECORDING_MAX_MS": "1000"}, "longer than 1000 ms"),
    ],
)
async def test_a_recording_beyond_the_limits_is_refused(
    settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    async with started_process("parley_asr", scripted_env(tmp_path, SCRIPT, **settings)) as process:
        client = Client(process.grpc_address)
        with pytest.raises(Fault, match=said) as refused:
            await client.recognize(bytes(16_001), input_audio=MULAW_8K)
        assert (refused.value.code, refused.value.field) == (FaultCode.INVALID_ARGUMENT, "content")
        await client.close()


async def test_a_cancelled_recording_gives_its_place_back(tmp_path: Path) -> None:
    async with started_process("parley_asr", scripted_env(tmp_path, SCRIPT, MAX_RECORDINGS="1")) as process:
        client = Client(process.grpc_address)
        call = client.stub.Recognize()
        await call.write(pb.RecognizeRequest(config=pb.RecognizeConfig(input_audio=MULAW_8K)))
        for _ in range(200):  # 27 minutes
            await call.write(pb.RecognizeRequest(content=b"\xff" * 65_536))
        await call.done_writing()
        assert (await call.read()).progress.total_duration.seconds == 1638
        assert (await fault_of(client.stub.Recognize())).reason == "AT_CAPACITY"
        call.cancel()
        await asyncio.sleep(0.5)
        assert await client.recognize(s16(ONE_UTTERANCE), input_audio=PCM_16K)
        await client.close()


async def test_an_upload_that_stalls_is_given_up(tmp_path: Path) -> None:
    env = scripted_env(tmp_path, SCRIPT, RECORDING_UPLOAD_TIMEOUT_MS="1000")
    async with started_process("parley_asr", env) as process:
        client = Client(process.grpc_address)
        call = client.stub.Recognize()
        await call.write(pb.RecognizeRequest(config=pb.RecognizeConfig()))
        assert (await fault_of(call)).reason == "UPLOAD_TOO_SLOW"
        await client.close()


async def test_health_readiness_and_metrics_tell_the_truth(tmp_path: Path) -> None:
    async with started_process("parley_asr", scripted_env(tmp_path, SCRIPT)) as process:
        client = Client(process.grpc_address)
        await client.recognize_live([config(), *chunks(ONE_UTTERANCE), END])
        stub: Any = health_pb2_grpc.HealthStub(client.channel)
        request = health_pb2.HealthCheckRequest(service="parley.asr.v1.RecognitionService")
        assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        page = await _page(process, "/metrics")
        assert (
            'parley_asr_requests_total{method="StreamingRecognize",outcome="completed",reason=""} 1.0' in page
        )
        assert 'parley_asr_utterances_total{outcome="text"} 1.0' in page
        assert "parley_asr_final_seconds_count 1.0" in page
        assert "parley_asr_audio_seconds_total 2.1" in page
        assert await _page(process, "/readyz") == "ready\n"
        await client.close()


async def _page(process: StartedProcess, path: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(f"http://{process.metrics_address}{path}", timeout=5) as response:
            page: str = response.read().decode()
            return page

    return await asyncio.to_thread(get)


@pytest.mark.parametrize("make", [make_ctc, make_transducer])
async def test_a_model_folder_is_served_by_the_real_library(make: Any, tmp_path: Path) -> None:
    make(tmp_path)
    env = {
        "PARLEY_ASR_ENGINE": "sherpa",
        "PARLEY_ASR_MODEL_FOLDER": str(tmp_path),
        "PARLEY_ASR_VAD_MODEL_FILE": str(make_voice_activity_model(tmp_path / "made-vad.onnx")),
    }
    async with started_process("parley_asr", env) as process:
        client = Client(process.grpc_address)
        noise = (np.random.default_rng(0).standard_normal(24_000) * 0.3).clip(-1, 1).astype(np.float32)
        audio = chunks(np.concatenate((silence(300), noise, silence(900))))
        async with asyncio.TaskGroup() as tasks:
            calls = [
                tasks.create_task(client.recognize_live([config(), *audio, END]), name=f"call-{index}")
                for index in range(8)
            ]
        stories = [story(call.result()) for call in calls]
        assert all(told == stories[0] for told in stories)
        assert [word for word in stories[0][1:] if not word.startswith("final")] == [
            "STARTED",
            "PAUSED",
            "ENDED",
        ]
        assert len(stories[0][-1]) > len("final:one two")
        await client.close()


START_REFUSALS: list[tuple[str, dict[str, str], str]] = [
    ("a misspelt setting", {"ENGIN": "scripted"}, "did you mean PARLEY_ASR_ENGINE"),
    ("an unknown engine", {"ENGINE": "whisper"}, "PARLEY_ASR_ENGINE"),
    ("sherpa without a folder", {"ENGINE": "sherpa"}, "needs PARLEY_ASR_MODEL_FOLDER"),
    ("a folder without sherpa", {"MODEL_FOLDER": "."}, "only for PARLEY_ASR_ENGINE=sherpa"),
    (
        "a script without the scripted engine",
        {"SCRIPT_FILE": __file__},
        "only for PARLEY_ASR_ENGINE=scripted",
    ),
    ("a script that is none", {"ENGINE": "scripted", "SCRIPT_FILE": __file__}, "is wrong at"),
    (
        "an empty model folder",
        {"ENGINE": "sherpa", "MODEL_FOLDER": str(Path(__file__).parent)},
        "no tokens.txt",
    ),
]


@pytest.mark.parametrize(
    ("settings", "said"), [c[1:] for c in START_REFUSALS], ids=[c[0] for c in START_REFUSALS]
)
async def test_what_cannot_work_is_refused_at_start_in_one_line(settings: dict[str, str], said: str) -> None:
    env = {f"PARLEY_ASR_{name}": value for name, value in settings.items()}
    with pytest.raises(StartError) as refused:
        async with started_process("parley_asr", env):
            pass
    assert refused.value.exit_code == 2
    lines = [line for line in refused.value.logs.splitlines() if said in line]
    assert len(lines) == 1


async def test_a_voice_activity_model_that_is_none_is_refused_at_start(tmp_path: Path) -> None:
    env = {
        "PARLEY_ASR_ENGINE": "sherpa",
        "PARLEY_ASR_MODEL_FOLDER": str(make_ctc(tmp_path)),
        "PARLEY_ASR_VAD_MODEL_FILE": __file__,
    }
    with pytest.raises(StartError) as refused:
        async with started_process("parley_asr", env):
            pass
    assert refused.value.exit_code == 2 and "test_process.py" in refused.value.logs


async def test_cuda_on_the_cpu_wheel_is_refused_at_start(tmp_path: Path) -> None:
    env = {
        "PARLEY_ASR_ENGINE": "sherpa",
        "PARLEY_ASR_MODEL_FOLDER": str(make_ctc(tmp_path)),
        "PARLEY_ASR_VAD_MODEL_FILE": str(make_voice_activity_model(tmp_path / "made-vad.onnx")),
        "PARLEY_ASR_PROVIDER": "cuda",
    }
    with pytest.raises(StartError) as refused:
        async with started_process("parley_asr", env):
            pass
    assert refused.value.exit_code == 2 and "CUDA wheel" in refused.value.logs
