"""What operators see, and what they must not see: metrics, logs, probes of all four processes."""

import asyncio
import json
import os
import signal
import urllib.error
import urllib.request

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from parley_servicekit.reasons import OTHER, REASONS
from support.hostile_requests import send_everywhere
from support.person import conversing
from support.scripted_stack import ANSWER, HEARD
from support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECRET = "pistachio zeppelin"
# Of ours and prometheus-client's, after everything that the tests of this folder do to a stack.
SERIES_MAX_COUNT = {"gateway": 320, "asr": 200, "llm": 200, "tts": 170}
Series = tuple[str, frozenset[tuple[str, str]]]


def fetch(url: str, accept: str = "") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"Accept": accept}), timeout=5
        ) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def counted(stack: Stack, process: str) -> dict[Series, float]:
    """Every series of a process and its value."""
    _, page = await asyncio.to_thread(fetch, stack.metrics[process])
    samples = [each for family in text_string_to_metric_families(page) for each in family.samples]
    return {(each.name, frozenset(each.labels.items())): each.value for each in samples}


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


async def test_a_spoken_turn_shows_up_in_the_metrics_of_all_four(scripted: Stack) -> None:
    before = {name: await counted(scripted, name) for name in scripted.metrics}
    async with conversing(scripted.gateway) as person:
        await person.say("question")
        ended = await person.reply()
    after = {name: await counted(scripted, name) for name in scripted.metrics}

    def more(process: str, name: str, **labels: str) -> float:
        series = (f"parley_{process}_{name}", frozenset(labels.items()))
        return after[process][series] - before[process].get(series, 0.0)

    assert more("gateway", "turns_total", outcome="answered") == 1
    assert more("gateway", "replies_total", outcome="completed") == 1
    assert more("gateway", "voice_to_voice_seconds_count") == 1
    assert more("gateway", "heard_ratio_sum") == pytest.approx(1)
    assert more("gateway", "store_append_seconds_count") > 0
    stages = [
        more("gateway", "stage_seconds_sum", stage=stage)
        for stage in (
            "endpointing",
            "asr.final",
            "llm.first_token",
            "tts.first_audio",
            "playback.first_audio",
        )
    ]
    voice_to_voice_s = more("gateway", "voice_to_voice_seconds_sum")
    assert sum(stages) == pytest.approx(voice_to_voice_s, abs=0.01)
    assert voice_to_voice_s == pytest.approx(ended.latency.voice_to_voice.ToNanoseconds() / 1e9, abs=0.001)
    assert more("asr", "utterances_total", outcome="text") == 1
    assert more("asr", "final_seconds_count") == 1
    assert more("llm", "requests_total", outcome="completed", reason="") == 1
    assert more("llm", "queue_wait_seconds_count") == 1
    assert more("llm", "tokens_per_second_count") == 1
    assert more("tts", "requests_total", outcome="completed", reason="") == 1
    assert more("tts", "first_audio_seconds_count") == 1


async def test_a_broken_reply_is_a_failed_turn_with_its_reason_and_an_interrupted_one_a_barge_in(
    scripted: Stack,
) -> None:
    before = await counted(scripted, "gateway")
    async with conversing(scripted.gateway, has_microphone=False) as person:
        await person.conversation.send_text("break")
        await person.reply(1)
        await person.conversation.send_text(" ")
        await person.wait_for("error", count=2)
        await person.conversation.send_text("long")
        await person.wait_for("reply_audio", lambda each: each.reply_audio.reply_id == 2, count=5)
        await person.conversation.interrupt()
        await person.reply(2)
    after = await counted(scripted, "gateway")

    def more(name: str, **labels: str) -> float:
        series = (f"parley_gateway_{name}", frozenset(labels.items()))
        return after[series] - before.get(series, 0.0)

    assert more("turns_total", outcome="failed") == 1
    assert more("turns_total", outcome="answered") == 1
    assert more("errors_total", reason="UPSTREAM_CUT") == 1
    assert more("errors_total", reason="TEXT_EMPTY") == 1
    assert more("barge_ins_total", cause="interrupt") == 1
    assert more("voice_to_voice_seconds_count") == 0, "nobody spoke"


async def test_a_service_that_hangs_is_not_up_until_it_goes_on(scripted: Stack) -> None:
    async def until_up(is_up: float) -> None:
        series = ("parley_gateway_upstream_up", frozenset({("service", "llm")}))
        async with asyncio.timeout(30):
            while (await counted(scripted, "gateway"))[series] != is_up:
                await asyncio.sleep(0.2)

    os.kill(scripted.pids["llm"], signal.SIGSTOP)
    try:
        await until_up(0)
    finally:
        os.kill(scripted.pids["llm"], signal.SIGCONT)
    await until_up(1)


async def test_links_and_what_is_on_them_are_told(scripted: Stack) -> None:
    async def until(**streams: int) -> None:
        """Until each service has one link with so many streams."""
        async with asyncio.timeout(30):
            while True:
                page = await counted(scripted, "gateway")
                told = {
                    service: (
                        page["parley_gateway_upstream_links", frozenset({("service", service)})],
                        page["parley_gateway_upstream_link_streams", frozenset({("service", service)})],
                    )
                    for service in streams
                }
                if told == {service: (1, count) for service, count in streams.items()}:
                    return
                await asyncio.sleep(0.2)

    await until(asr=0, llm=0, tts=0)
    async with conversing(scripted.gateway) as person:
        await until(asr=1, llm=0, tts=0)
        await person.conversation.send_text("long")
        await person.wait_for("reply_audio")
        await until(asr=1, llm=1, tts=1)
        await person.conversation.interrupt()
        await person.reply(1)
    await until(asr=0, llm=0, tts=0)


async def test_every_process_tells_its_build_its_room_and_how_late_its_loop_is(scripted: Stack) -> None:
    rooms = {
        "gateway": "session_slots",
        "asr": "stream_slots",
        "llm": "answer_slots",
        "tts": "stream_slots",
    }
    for process, room in rooms.items():
        values = await counted(scripted, process)
        totals: dict[str, float] = {}
        for (name, _), value in values.items():
            totals[name] = totals.get(name, 0.0) + value
        assert totals[f"parley_{process}_build_info"] == 1
        assert totals[f"parley_{process}_event_loop_lag_seconds_count"] > 0
        assert totals[f"parley_{process}_{room}"] > 0
        assert totals["process_cpu_seconds_total"] > 0
    gateway = await counted(scripted, "gateway")
    for service in ("asr", "llm", "tts"):
        assert gateway["parley_gateway_upstream_up", frozenset({("service", service)})] == 1
    assert gateway["parley_gateway_is_draining", frozenset()] == 0
    assert gateway["parley_gateway_store_queued_events", frozenset()] == 0


async def test_nothing_that_clients_send_becomes_a_label(scripted: Stack) -> None:
    before = {name: set(await counted(scripted, name)) for name in scripted.metrics}
    markers = ["mallory1", "mallory2"]
    sent_count = await send_everywhere(scripted.gateway, markers[0])
    assert sent_count > 50
    await send_everywhere(scripted.gateway, f'{markers[1]}"}} 1\n# EOF\nparley_{{evil="1"}} ☃')
    async with conversing(scripted.gateway, has_microphone=False) as person:
        await person.conversation.send_text(f"hello {markers[0]}")
        await person.reply()
    for name, series_before in before.items():
        _, page = await asyncio.to_thread(fetch, scripted.metrics[name])
        assert "mallory" not in page and "evil" not in page, f"{name} shows what a client sent"
        series = set(await counted(scripted, name))
        added = {labels for _, labels in series - series_before}
        assert all("reason" in dict(labels) for labels in added), f"{name} has new series: {added}"
        reasons = {dict(labels).get("reason", "") for _, labels in series}
        assert reasons <= REASONS | {OTHER, ""}, f"{name} has reasons of strangers"
        assert len(series) <= SERIES_MAX_COUNT[name]


async def test_open_metrics_are_served_to_who_asks(scripted: Stack) -> None:
    for url in scripted.metrics.values():
        _, page = await asyncio.to_thread(fetch, url, "application/openmetrics-text;version=1.0.0")
        assert page.endswith("# EOF\n")


async def test_a_turn_goes_well_while_the_metrics_port_is_abused(scripted: Stack) -> None:
    async with asyncio.TaskGroup() as tasks:
        abuses = [
            tasks.create_task(abuse(url, request), name=f"abuse.{name}")
            for name, url in scripted.metrics.items()
            for request in (
                b"GET /metrics HTTP/1.1\r\n\r\n",
                b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
                b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000,
                b"GET /metrics",
            )
        ]
        async with conversing(scripted.gateway) as person:
            await person.say("question")
            ended = await person.reply()
        for each in abuses:
            each.cancel()
    assert ended.outcome == 1
    for name, url in scripted.metrics.items():
        assert (await asyncio.to_thread(fetch, url))[0] == 200, name


async def abuse(url: str, request: bytes) -> None:
    """Send a request on one connection after the other, and never read."""
    host, _, port = url.removeprefix("http://").removesuffix("/metrics").partition(":")
    while True:
        _reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        await asyncio.sleep(0.005)
        writer.transport.abort()


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
