"""Speech in, speech out through containers, from outside; each container is killed, and nothing that counts is lost."""

import asyncio
import json

import pytest

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley_client import Parley
from parley_servicekit.faults import Fault
from support.compose_stack import ComposeStack
from support.person import Person, conversing

pytestmark = pytest.mark.asyncio(loop_scope="session")
PROCESSES = ("gateway", "asr", "llm", "tts")
COMPLETED = events_pb2.REPLY_OUTCOME_COMPLETED


async def answered(person: Person, recording: str, count: int = 1) -> str:
    """What the person is told after saying a recording."""
    await person.say(recording)
    ended = await person.reply(count)
    assert ended.outcome == COMPLETED
    assert len(person.audio(ended.reply_id)) > 0
    return ended.heard_text


async def test_a_spoken_question_gets_a_spoken_answer_through_the_published_port(stack: ComposeStack) -> None:
    async with conversing(stack.gateway) as person:
        assert await answered(person, "question")
    committed = (await person.wait_for("turn_committed")).turn_committed
    assert "how are you" in committed.text.lower()


async def test_containers_may_do_no_more_than_they_need(stack: ComposeStack) -> None:
    containers = stack.containers()
    for name in PROCESSES:
        inside = containers[name].attrs
        assert inside["Config"]["User"] == "10001:10001", name
        assert inside["Config"]["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    for name, container in containers.items():
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"]), name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"], name
        published = [port for ports in (host["PortBindings"] or {}).values() for port in ports]
        assert all(port["HostIp"] == "127.0.0.1" for port in published), name


@pytest.mark.parametrize("service", ["asr", "llm", "tts"])
async def test_a_live_conversation_outlives_a_service_that_is_killed(
    stack: ComposeStack, service: str
) -> None:
    async with conversing(stack.gateway) as person:
        await answered(person, "question", 1)
        await asyncio.to_thread(stack.kill, service)
        await asyncio.to_thread(stack.start, service)
        await stack.wait_until_whole()
        before = len([each for each in person.responses if each.HasField("reply_ended")])
        assert await answered(person, "weather", before + 1)


async def test_a_conversation_is_continued_with_its_memory_after_the_gateway_was_killed(
    stack: ComposeStack,
) -> None:
    with pytest.raises((Fault, ExceptionGroup)):
        async with conversing(stack.gateway) as person:
            await answered(person, "follow_up_name")
            await asyncio.to_thread(stack.kill, "gateway")
            await person.wait_for("error")  # never comes: the connection ends
    await asyncio.to_thread(stack.start, "gateway")
    await stack.wait_until_whole()
    config = config_pb2.ConversationConfig(conversation_id=person.conversation_id)
    async with conversing(stack.gateway, config) as person:
        assert "lucy" in (await answered(person, "ask_name")).lower()


async def test_redis_keeps_what_it_acknowledged_when_it_is_killed(stack: ComposeStack) -> None:
    async with conversing(stack.gateway, has_microphone=False) as person:
        await person.conversation.send_text("hello")
        await person.reply(1)
        # What is older than a second is on the disk: deploy/redis/redis.conf.
        await asyncio.sleep(1.1)
        await asyncio.to_thread(stack.kill, "redis")
        await person.conversation.send_text("hello again")
        assert (await person.reply(2)).outcome == COMPLETED, "no conversation waits for the store"
    async with Parley(stack.gateway) as parley:
        assert not (await parley.status()).is_store_available
    await asyncio.to_thread(stack.start, "redis")
    await stack.wait_until_whole()
    await asyncio.to_thread(stack.kill, "gateway")  # so that the answer comes from Redis alone
    await asyncio.to_thread(stack.start, "gateway")
    await stack.wait_until_whole()
    async with Parley(stack.gateway) as parley:
        turns = (await parley.get_conversation(person.conversation_id)).turns
    assert [turn.text for turn in turns][0::2] == ["hello", "hello again"]


async def test_the_network_to_redis_may_go_and_come(stack: ComposeStack) -> None:
    [network] = stack.engine.networks.list(names=[f"{stack.project}_state"])
    redis = stack.containers()["redis"]
    async with conversing(stack.gateway, has_microphone=False) as person:
        await asyncio.to_thread(network.disconnect, redis)
        await person.conversation.send_text("hello")
        assert (await person.reply(1)).outcome == COMPLETED
    await asyncio.to_thread(network.connect, redis, aliases=["redis"])
    await stack.wait_until_whole()
    async with Parley(stack.gateway) as parley:
        turns = (await parley.get_conversation(person.conversation_id)).turns
    assert turns[0].text == "hello"


async def test_prometheus_reaches_every_process_and_answers_also_after_it_was_killed(
    stack: ComposeStack,
) -> None:
    async with conversing(stack.gateway) as person:
        await answered(person, "question")
    assert len(await all_watched(stack)) == len(PROCESSES)
    await asyncio.to_thread(stack.kill, "prometheus")
    await asyncio.to_thread(stack.start, "prometheus")
    assert len(await all_watched(stack)) == len(PROCESSES)


async def all_watched(stack: ComposeStack) -> list[dict[str, object]]:
    """Prometheus's targets, when it reaches each process and knows of a completed reply."""
    async with asyncio.timeout(20):
        while True:
            targets: list[dict[str, object]] = []
            jobs = set()
            for each in (await asyncio.to_thread(stack.prometheus, "targets"))["activeTargets"]:
                targets.append(each)
                if each["health"] == "up":
                    jobs.add(each["labels"]["job"])
            replies = await asyncio.to_thread(
                stack.prometheus, "query", query='sum(parley_gateway_replies_total{outcome="completed"})'
            )
            count = float(replies["result"][0]["value"][1]) if replies["result"] else 0.0
            if jobs == {f"parley-{name}" for name in PROCESSES} and count >= 1:
                return targets
            await asyncio.sleep(0.5)


async def test_a_gateway_that_is_stopped_says_so_lets_the_reply_finish_and_ends_well(
    stack: ComposeStack,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises((Fault, ExceptionGroup)):
            async with conversing(stack.gateway) as person:
                await person.say("question")
                await person.wait_for("reply_audio")
                tasks.create_task(asyncio.to_thread(stack.compose, "stop", "gateway"), name="stop")
                await person.wait_for("draining")
                assert (await person.reply()).outcome == COMPLETED
                await person.wait_for("error")  # never comes: the stream ends
    container = stack.containers()["gateway"]
    assert container.attrs["State"] | {"Status": "exited", "ExitCode": 0} == container.attrs["State"]
    last = [json.loads(line) for line in stack.logs("gateway").splitlines() if line.startswith("{")][-1]
    assert last["event"] == "process.stopped"
    await asyncio.to_thread(stack.start, "gateway")
    await stack.wait_until_whole()


async def test_everything_stops_when_asked(stack: ComposeStack) -> None:
    """The last one: nothing runs after it."""
    await asyncio.to_thread(stack.compose, "stop")
    for name, container in stack.containers().items():
        assert container.attrs["State"]["ExitCode"] == 0, f"{name}:\n{stack.logs(name)}"
