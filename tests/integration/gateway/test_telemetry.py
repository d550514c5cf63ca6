"""What operators see, and what they must not see: metrics, logs, probes of all four processes."""

import asyncio
import json
import urllib.error
import urllib.request

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from support.person import conversing
from support.scripted_stack import ANSWER, HEARD
from support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECRET = "pistachio zeppelin"


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_what_people_say_reaches_neither_logs_nor_metrics(scripted: Stack) -> None:
    async with conversing(scripted.gateway) as person:
        await person.say("question")
        await person.reply(1)
        await person.conversation.send_text(f"hello {SECRET}")
        await person.reply(2)
    for name, url in scripted.metrics.items():
        _, metrics = await asyncio.to_thread(fetch, url)
        log = scripted.logs(name)
        assert log, f"{name} logs nothing"
        for text in (SECRET, HEARD, "pistachio", "".join(ANSWER), "nice to hear"):
            assert text not in log, f"{name} logs what people say"
            assert text not in metrics, f"{name} counts what people say"


async def test_a_turn_shows_up_in_the_gateways_metrics(scripted: Stack) -> None:
    async def replies() -> float:
        _, text = await asyncio.to_thread(fetch, scripted.metrics["gateway"])
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        stages = {
            each.labels["stage"] for each in samples if each.name == "parley_gateway_stage_seconds_count"
        }
        assert stages in (
            set(),
            {"endpointing", "asr.final", "llm.first_token", "tts.first_audio", "playback.first_audio"},
        )
        return sum(
            each.value for each in samples if each.name == "parley_gateway_voice_to_voice_seconds_count"
        )

    before = await replies()
    async with conversing(scripted.gateway, has_microphone=False) as person:
        await person.conversation.send_text("hello")
        await person.reply()
    assert await replies() == before + 1


async def test_every_process_logs_json_lines_with_its_name(scripted: Stack) -> None:
    for name in scripted.metrics:
        for line in scripted.logs(name).splitlines():
            assert json.loads(line)["process"] == name


async def test_every_process_answers_probes_and_nothing_else(scripted: Stack) -> None:
    for name, url in scripted.metrics.items():
        base = url.removesuffix("/metrics")
        assert (await asyncio.to_thread(fetch, f"{base}/healthz"))[0] == 200, name
        assert (await asyncio.to_thread(fetch, f"{base}/readyz"))[0] == 200, name
        assert (await asyncio.to_thread(fetch, f"{base}/secrets"))[0] == 404, name


async def test_the_gateway_tells_its_health_over_grpc(scripted: Stack) -> None:
    async with grpc.aio.insecure_channel(scripted.gateway) as channel:
        for service in ("", "parley.gateway.v1.ConversationService"):
            request = health_pb2.HealthCheckRequest(service=service)
            assert (await health_pb2_grpc.HealthStub(channel).Check(request)).status == 1
