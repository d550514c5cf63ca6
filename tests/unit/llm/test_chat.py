"""One answer: what reaches the engine, what comes out, and every bound on the way. On the scripted engine."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from parley_llm.chat import Chat, ChatLimits, Finished
from parley_llm.engines.scripted import Script, ScriptedAnswer, ScriptedEngine
from parley_llm.metrics import Metrics
from parley_llm.ports import Capabilities, Completion, ContextOverflow, Generation, Message
from parley_servicekit.faults import Fault, FaultCode

LIMITS = ChatLimits(
    parallel_count=2,
    queue_max_count=1,
    queue_timeout_ms=60_000,
    first_token_timeout_ms=60_000,
    stall_timeout_ms=60_000,
    answer_timeout_ms=60_000,
    load_timeout_ms=60_000,
)
HELLO = Generation((Message("user", "Hello"),))


class Spy(ScriptedEngine):
    """The scripted engine, with a record of what it was asked and, if wanted, a smaller context than it tells."""

    def __init__(self, *answers: ScriptedAnswer, overflow_above: int | None = None) -> None:
        super().__init__(
            Script(answers=answers or (ScriptedAnswer(deltas=("Yes", ".")),), context_token_count=1024)
        )
        self.asked: list[Generation] = []
        self._overflow_above = overflow_above

    async def open_stream(self, generation: Generation) -> AsyncGenerator[str | Completion, None]:
        self.asked.append(generation)
        if self._overflow_above is not None and len(generation.messages) > self._overflow_above:
            raise ContextOverflow
        async with aclosing(super().open_stream(generation)) as pieces:
            async for piece in pieces:
                yield piece


def make_chat(
    engine: ScriptedEngine, limits: ChatLimits = LIMITS, registry: CollectorRegistry | None = None
) -> Chat:
    return Chat(engine, limits, Metrics(registry or CollectorRegistry()))


async def pieces_of(chat: Chat, generation: Generation = HELLO) -> list[str | Finished]:
    async with aclosing(chat.answer(generation)) as pieces:
        return [piece async for piece in pieces]


async def reason_of(chat: Chat, generation: Generation = HELLO) -> str:
    with pytest.raises(Fault) as caught:
        await pieces_of(chat, generation)
    return caught.value.reason


async def test_deltas_come_first_and_then_how_it_ended() -> None:
    *deltas, finished = await pieces_of(make_chat(Spy()))
    assert deltas == ["Yes", "."]
    assert isinstance(finished, Finished)
    assert (finished.finish_reason, finished.model, finished.completion_token_count) == (
        "stop",
        "scripted",
        2,
    )
    assert 0 <= finished.first_token_ms <= finished.total_ms


async def test_defaults_are_filled_in() -> None:
    engine = Spy()
    await pieces_of(make_chat(engine))
    assert (engine.asked[0].model, engine.asked[0].max_tokens) == ("scripted", 1024)


async def test_an_empty_answer_is_only_its_end() -> None:
    for deltas in ((), ("", ""), ("<think>nothing", " to say</think>")):
        pieces = await pieces_of(make_chat(Spy(ScriptedAnswer(deltas=deltas))))
        assert [type(piece) for piece in pieces] == [Finished]


async def test_thinking_is_left_out_and_no_delta_is_empty() -> None:
    deltas = ("<th", "ink>a", "</think>", "\n", "", "Yes", " <", "b")
    *told, _ = await pieces_of(make_chat(Spy(ScriptedAnswer(deltas=deltas))))
    assert told == ["Yes", " ", "<b"]


async def test_old_turns_are_dropped_before_the_engine_sees_them() -> None:
    engine = Spy()
    turns = [Message("user" if n % 2 == 0 else "assistant", "word " * 40) for n in range(99)]
    await pieces_of(make_chat(engine), Generation((Message("system", "Be kind"), *turns)))
    sent = engine.asked[0].messages
    assert (sent[0].role, sent[1].role, sent[-1]) == ("system", "user", turns[-1])
    assert 3 < len(sent) < 20


async def test_where_the_estimate_erred_more_is_dropped() -> None:
    engine = Spy(overflow_above=5)
    turns = [Message("user" if n % 2 == 0 else "assistant", "word " * 10) for n in range(21)]
    assert len(await pieces_of(make_chat(engine), Generation(tuple(turns)))) == 3
    lengths = [len(asked.messages) for asked in engine.asked]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] <= 5


async def test_what_cannot_fit_is_refused() -> None:
    assert (
        await reason_of(make_chat(Spy()), Generation((Message("user", "word " * 2000),))) == "PROMPT_TOO_LONG"
    )
    engine = Spy(overflow_above=0)
    assert await reason_of(make_chat(engine)) == "PROMPT_TOO_LONG"
    assert len(engine.asked) == 1  # the same prompt is not sent twice


@pytest.mark.parametrize(
    ("answer", "limits", "reason"),
    [
        (ScriptedAnswer(deltas=("a",), hang_after=0), {"first_token_timeout_ms": 1}, "FIRST_TOKEN_TIMEOUT"),
        (
            ScriptedAnswer(deltas=("<think>", "x"), repeat=1000, hang_after=50),
            {"first_token_timeout_ms": 1},
            "FIRST_TOKEN_TIMEOUT",
        ),
        (ScriptedAnswer(deltas=("a",), hang_after=1), {"stall_timeout_ms": 1}, "ANSWER_STALLED"),
        (ScriptedAnswer(deltas=("a",), hang_after=1), {"answer_timeout_ms": 300}, "ANSWER_TIMEOUT"),
        (ScriptedAnswer(deltas=("a",), fail_after=1, fail_reason="UPSTREAM_CUT"), {}, "UPSTREAM_CUT"),
        (ScriptedAnswer(deltas=("a",), fail_after=0, fail_reason="UPSTREAM_CUT"), {}, "UPSTREAM_CUT"),
    ],
)
async def test_every_way_to_fail_is_a_fault_and_frees_the_slot(
    answer: ScriptedAnswer, limits: dict[str, int], reason: str
) -> None:
    engine = Spy(answer)
    chat = make_chat(engine, replace(LIMITS, parallel_count=1, queue_max_count=0, **limits))
    for _ in range(2):
        assert await reason_of(chat) == reason
    assert engine.running_count == 0


async def test_an_engine_that_ends_without_a_completion_has_failed() -> None:
    class Silent(ScriptedEngine):
        async def open_stream(self, generation: Generation) -> AsyncGenerator[str | Completion, None]:
            yield "a"

    chat = make_chat(Silent(Script(answers=(ScriptedAnswer(),))))
    assert await reason_of(chat) == "UPSTREAM_INCOMPLETE"


async def test_closing_and_cancelling_stop_the_engine() -> None:
    engine = Spy(ScriptedAnswer(deltas=("a",), repeat=100, hang_after=50))
    chat = make_chat(engine)
    async with aclosing(chat.answer(HELLO)) as pieces:
        await anext(pieces)
        assert engine.running_count == 1
    assert engine.running_count == 0
    started = asyncio.Event()

    async def read() -> None:
        async with aclosing(chat.answer(HELLO)) as pieces:
            async for _ in pieces:
                started.set()

    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read())
        await started.wait()
        assert engine.running_count == 1
        reader.cancel()
    assert engine.running_count == 0


async def test_more_than_slots_and_queue_are_refused() -> None:
    engine = Spy(ScriptedAnswer(deltas=("a",), hang_after=1))
    chat = make_chat(engine)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(pieces_of(chat)) for _ in range(3)]
        while engine.running_count < 2:
            await asyncio.sleep(0)
        assert await reason_of(chat) == "AT_CAPACITY"
        for task in running:
            task.cancel()


async def test_warming_up_asks_for_one_token_after_the_prompt() -> None:
    class Cold(Spy):
        @property
        def capabilities(self) -> Capabilities:
            return replace(super().capabilities, needs_warm_up=True)

    engine = Cold()
    chat = make_chat(engine)
    assert await chat.warm_up("", "Be kind") >= 0
    assert [message.role for message in engine.asked[0].messages] == ["system", "user"]
    assert engine.asked[0].max_tokens == 1
    with pytest.raises(Fault, match="MODEL_NOT_FOUND"):
        await chat.warm_up("unknown", "")
    with pytest.raises(Fault) as caught:
        await chat.warm_up("", "x" * (33 << 10))
    assert (caught.value.code, caught.value.field) == (FaultCode.INVALID_ARGUMENT, "system_prompt")


async def test_a_script_is_not_used_up_by_warming_up() -> None:
    engine = Spy()
    assert await make_chat(engine).warm_up("", "Be kind") == 0
    assert engine.asked == []


async def test_outcomes_are_counted() -> None:
    registry = CollectorRegistry()
    cut = ScriptedAnswer(when_asked="cut", deltas=("a",), fail_after=1, fail_reason="UPSTREAM_CUT")
    chat = make_chat(Spy(ScriptedAnswer(deltas=("a", "b")), cut), registry=registry)
    await pieces_of(chat)
    await reason_of(chat, Generation(()))
    await reason_of(chat, Generation((Message("user", "cut"),)))
    async with aclosing(chat.answer(HELLO)) as pieces:
        await anext(pieces)

    def count(outcome: str, reason: str) -> float | None:
        return registry.get_sample_value("parley_llm_requests_total", {"outcome": outcome, "reason": reason})

    assert count("completed", "") == count("cancelled", "") == count("refused", "INVALID_FIELD") == 1
    assert count("failed", "UPSTREAM_CUT") == 1
    assert registry.get_sample_value("parley_llm_deltas_total") == 4
    assert registry.get_sample_value("parley_llm_answer_slots") == 2
    assert registry.get_sample_value("parley_llm_queue_wait_seconds_count") == 3, "a refused one never queued"
    assert registry.get_sample_value("parley_llm_answers_running") == 0
