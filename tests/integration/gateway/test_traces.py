"""Traces of spoken and typed turns: four processes, one collector, one trace a turn; and collectors that misbehave."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import grpc.aio
import pytest
import pytest_asyncio

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley.gateway.v1.conversation_service_pb2_grpc import ConversationServiceStub
from support.person import conversing
from support.scripted_stack import ANSWER, HEARD, scripted_stack
from support.stack import Stack
from support.trace_collector import CollectedSpan, TraceCollector, collecting

pytestmark = pytest.mark.asyncio(loop_scope="session")
STAGES = ["endpointing", "asr.final", "llm.first_token", "tts.first_audio", "playback.first_audio"]
SERVERS = {"parley-asr": "asr utterance", "parley-llm": "llm answer", "parley-tts": "tts speak"}
SECRET = "pistachio zeppelin"
CALLER_TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Traced:
    """A stack and the collector that it sends its spans to."""

    stack: Stack
    collector: TraceCollector

    async def turn(self, conversation_id: str, reply_id: int = 1) -> CollectedSpan:
        """The turn that a reply answered, when it has come in with what llm and tts did for it."""

        def turns() -> list[CollectedSpan]:
            return self.collector.named("turn", lambda span: _answers(span, conversation_id, reply_id))

        await self.collector.until(lambda: bool(turns()))
        return turns()[0]

    async def children(self, turn: CollectedSpan, *names: str) -> dict[str, CollectedSpan]:
        """The parts of a turn by their names, when those asked for have come in."""

        def found() -> dict[str, CollectedSpan]:
            spans = self.collector.trace(turn.trace_id)
            return {span.name: span for span in spans if span.parent_id == turn.span_id}

        await self.collector.until(lambda: set(names) <= set(found()))
        return found()


def _answers(span: CollectedSpan, conversation_id: str, reply_id: int) -> bool:
    told = span.attributes
    return told["parley.conversation_id"] == conversation_id and told.get("parley.reply_id") == reply_id


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def traced(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Traced]:
    async with (
        collecting() as collector,
        scripted_stack(
            tmp_path_factory.mktemp("traced"),
            {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}", "OTEL_BSP_SCHEDULE_DELAY": "100"},
        ) as stack,
    ):
        yield Traced(stack, collector)


def total_ms(latency: events_pb2.Latency) -> float:
    return latency.voice_to_voice.ToNanoseconds() / 1e6


async def test_a_spoken_turn_is_one_trace_of_four_processes(traced: Traced) -> None:
    async with conversing(traced.stack.gateway) as person:
        await person.say("question")
        ended = await person.reply()
        conversation_id = person.conversation_id
    turn = await traced.turn(conversation_id)
    children = await traced.children(turn, *STAGES, *SERVERS.values())
    spans = traced.collector.trace(turn.trace_id)
    assert turn.parent_id == ""
    assert {span.service for span in spans} == {"parley-gateway", *SERVERS}
    assert sorted(span.name for span in spans) == sorted(["turn", *STAGES, *SERVERS.values()])
    assert set(children) == {*STAGES, *SERVERS.values()}
    for service, name in SERVERS.items():
        assert children[name].service == service
        assert children[name].attributes["parley.outcome"] in ("completed", "text")
    for child in children.values():
        assert turn.start_ns <= child.start_ns <= child.end_ns, child.name
        # What llm and tts end after their last message, the gateway may have read before.
        assert child.end_ns <= turn.end_ns + 50e6, child.name
    assert not any(span.is_error for span in spans)
    stages = [children[name] for name in STAGES]
    for before, after in pairwise(stages):
        assert before.end_ns == after.start_ns
    assert sum(stage.length_ms for stage in stages) == pytest.approx(total_ms(ended.latency), abs=1)
    assert turn.attributes["parley.voice_to_voice_ms"] == pytest.approx(total_ms(ended.latency), abs=1)
    assert turn.attributes["parley.outcome"] == "completed"
    assert turn.attributes["parley.source"] == "spoken"
    assert children["asr utterance"].end_ns <= children["llm answer"].start_ns
    assert children["llm answer"].start_ns >= children["asr.final"].start_ns


async def test_every_turn_is_a_trace_of_its_own_and_so_is_its_utterance(traced: Traced) -> None:
    async with conversing(traced.stack.gateway) as person:
        for count in (1, 2):
            await person.say("question")
            await person.reply(count)
        conversation_id = person.conversation_id
    first, second = [await traced.turn(conversation_id, reply_id) for reply_id in (1, 2)]
    assert first.trace_id != second.trace_id
    for turn in (first, second):
        children = await traced.children(turn, "asr utterance")
        assert children["asr utterance"].trace_id == turn.trace_id


async def test_an_interrupted_turn_says_so_and_is_no_error(traced: Traced) -> None:
    async with conversing(traced.stack.gateway, has_microphone=False) as person:
        await person.conversation.send_text("long")
        await person.wait_for("reply_audio")
        await person.conversation.interrupt()
        await person.reply()
        conversation_id = person.conversation_id
    turn = await traced.turn(conversation_id)
    children = await traced.children(turn, "llm answer", "tts speak")
    assert turn.attributes["parley.outcome"] == "interrupted"
    assert turn.attributes["parley.interrupted_by"] == "request"
    assert children["llm answer"].attributes["parley.outcome"] == "cancelled"
    assert children["tts speak"].attributes["parley.outcome"] == "cancelled"
    assert not any(span.is_error for span in (turn, *children.values()))


async def test_a_failed_turn_is_an_error_where_it_failed_and_as_a_whole(traced: Traced) -> None:
    async with conversing(traced.stack.gateway, has_microphone=False) as person:
        await person.conversation.send_text("break")
        await person.reply()
        conversation_id = person.conversation_id
    turn = await traced.turn(conversation_id)
    children = await traced.children(turn, "llm answer")
    for span in (turn, children["llm answer"]):
        assert span.is_error
        assert span.status == span.attributes["parley.reason"] == "UPSTREAM_CUT"
    assert turn.attributes["parley.outcome"] == "failed"


async def test_a_callers_trace_is_linked_to_and_nonsense_is_not(traced: Traced) -> None:
    async def converse(*metadata: tuple[str, str]) -> CollectedSpan:
        async with grpc.aio.insecure_channel(traced.stack.gateway) as channel:
            call = ConversationServiceStub(channel).Converse(metadata=metadata)  # type: ignore[arg-type]
            await call.write(pb2.ConverseRequest(config=config_pb2.ConversationConfig()))
            ready = (await call.read()).ready
            await call.write(pb2.ConverseRequest(text="hello"))
            while not (await call.read()).HasField("reply_ended"):
                pass
            await call.write(pb2.ConverseRequest(end_conversation=pb2.EndConversation()))
        return await traced.turn(ready.conversation_id)

    good = ("traceparent", f"00-{CALLER_TRACE}-b7ad6b7169203331-01")
    turn = await converse(good)
    assert turn.links == [CALLER_TRACE]
    assert turn.parent_id == ""
    assert turn.trace_id != CALLER_TRACE
    for nonsense in (
        [("traceparent", "00-" + 32 * "0" + "-b7ad6b7169203331-01")],
        [("traceparent", SECRET)],
        [("traceparent", "00-" + 2000 * "a")],
        [("tracestate", "a=b")],
    ):
        assert (await converse(*nonsense)).links == []


async def test_log_lines_of_a_turn_carry_its_trace(traced: Traced) -> None:
    async with conversing(traced.stack.gateway, has_microphone=False) as person:
        await person.conversation.send_text("hello")
        await person.reply()
        conversation_id = person.conversation_id
    turn = await traced.turn(conversation_id)
    await traced.children(turn, "llm answer", "tts speak")
    for name, event in (("gateway", "reply.ended"), ("llm", "chat.ended"), ("tts", "synthesis.ended")):
        lines = [json.loads(line) for line in traced.stack.logs(name).splitlines()]
        assert [line for line in lines if line["event"] == event and line.get("trace_id") == turn.trace_id], (
            name
        )


async def test_the_slow_bucket_of_a_histogram_leads_to_the_trace(traced: Traced) -> None:
    def exposition() -> str:
        url = traced.stack.metrics["gateway"]
        request = urllib.request.Request(
            url, headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            return str(response.read().decode())

    async with conversing(traced.stack.gateway) as person:
        await person.say("question")
        await person.reply()
        conversation_id = person.conversation_id
    turn = await traced.turn(conversation_id)
    lines = (await asyncio.to_thread(exposition)).splitlines()
    examples = [line.split("{")[0] for line in lines if f'trace_id="{turn.trace_id}"' in line]
    assert "parley_gateway_voice_to_voice_seconds_bucket" in examples
    assert examples.count("parley_gateway_stage_seconds_bucket") == len(STAGES)


async def test_what_people_say_reaches_no_span(traced: Traced) -> None:
    async with conversing(traced.stack.gateway) as person:
        await person.say("question")
        await person.reply(1)
        await person.conversation.send_text(f"hello {SECRET}")
        await person.reply(2)
        conversation_id = person.conversation_id
    await traced.turn(conversation_id, 2)
    assert traced.collector.spans
    for span in traced.collector.spans:
        for text in (SECRET, "pistachio", HEARD, "".join(ANSWER), "nice to hear", "hello"):
            assert text not in span.everything, span.name


async def test_a_collector_that_refuses_or_hangs_changes_nothing_for_people(tmp_path: Path) -> None:
    async with collecting() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        async with scripted_stack(tmp_path, environment) as stack, conversing(stack.gateway) as person:
            for count, trouble in ((1, "refuses"), (2, "hangs")):
                collector.refuses, collector.hangs = trouble == "refuses", trouble == "hangs"
                before = collector.export_count
                await person.say("question")
                ended = await person.reply(count)
                assert ended.outcome == events_pb2.REPLY_OUTCOME_COMPLETED
                assert total_ms(ended.latency) < 2000
                await collector.until(lambda before=before: collector.export_count > before)
            began_s = asyncio.get_running_loop().time()
        # The collector still hangs. The processes end in two steps; who waited for it would be killed after 12 s.
        assert asyncio.get_running_loop().time() - began_s < 12
    for name in stack.metrics:
        lines = [json.loads(line) for line in stack.logs(name).splitlines()]
        assert "process.stopped" in [line["event"] for line in lines], name
        assert len([line for line in lines if line["event"] == "traces.not_taken"]) <= 1, name
        assert not [line for line in lines if line["event"] == "library.message"], name
