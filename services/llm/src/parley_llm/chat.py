"""`Chat`: one answer, from a request in domain words to its deltas. Knows neither the wire nor a particular engine.

Called by `servicer`, and by `availability` for warming up. Everything is bounded here, whatever the engine does: the
prompt (dropped to fit the context), the queue, the time to the first delta, between two pieces and in all.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from time import monotonic

from parley_llm import faults
from parley_llm.context_window import estimate_prompt, fit, fixed_part, join_neighbours
from parley_llm.metrics import Metrics
from parley_llm.ports import ChatEngine, Completion, ContextOverflow, FinishReason, Generation, Message, Model
from parley_llm.slots import Slots
from parley_llm.thinking import ThinkingFilter
from parley_llm.validation import check_generation, check_model, check_system_prompt
from parley_servicekit.logs import get_logger
from parley_servicekit.outcomes import ended_by

DEFAULT_MAX_TOKENS = 1024
# The estimate may be wrong by this much in all before a prompt counts as too long.
_SHRINKING = (1, 2, 4)
_log = get_logger()


@dataclass(frozen=True)
class ChatLimits:
    """Times and counts that bound each answer; `Settings` says why they are what they are."""

    parallel_count: int
    queue_max_count: int
    queue_timeout_ms: int
    first_token_timeout_ms: int
    stall_timeout_ms: int
    answer_timeout_ms: int
    load_timeout_ms: int


@dataclass(frozen=True)
class Finished:
    """The end of an answer. Durations count from the request's arrival."""

    finish_reason: FinishReason
    model: str
    prompt_token_count: int
    completion_token_count: int
    first_token_ms: int
    total_ms: int


class _Progress:
    """What is told about an answer in metrics and the log, never what it says."""

    def __init__(self) -> None:
        self.arrived_at = monotonic()
        self.first_token_ms: int | None = None
        self.first_piece_at: float | None = None
        self.last_piece_at = self.arrived_at
        self.delta_count = 0
        self.prompt_token_count = 0
        self.completion_token_count = 0
        self.dropped_count = 0

    def elapsed_ms(self) -> int:
        return round((monotonic() - self.arrived_at) * 1000)

    def note_piece(self) -> None:
        """The engine has written something, told or not."""
        self.last_piece_at = monotonic()
        self.first_piece_at = self.first_piece_at or self.last_piece_at

    def tokens_per_second(self) -> float | None:
        """The rate after the first token; None where nothing followed it or tokens were not counted."""
        if self.first_piece_at is None or self.last_piece_at <= self.first_piece_at:
            return None
        later_count = self.completion_token_count - 1
        return later_count / (self.last_piece_at - self.first_piece_at) if later_count > 0 else None


class Chat:
    """Answers on one engine."""

    def __init__(self, engine: ChatEngine, limits: ChatLimits, metrics: Metrics) -> None:
        self._engine = engine
        self._limits = limits
        self._metrics = metrics
        self._slots = Slots(
            limits.parallel_count, limits.queue_max_count, limits.queue_timeout_ms, metrics.queue
        )
        metrics.slots.set(limits.parallel_count)
        metrics.running.set_function(lambda: self._slots.taken_count)

    async def answer(self, generation: Generation) -> AsyncGenerator[str | Finished, None]:
        """The answer's deltas, none of them empty, then one Finished; no delta where the model says nothing.

        Closing or cancelling it stops the generation upstream. Raises Fault.
        """
        progress = _Progress()
        model = generation.model or self._engine.capabilities.models[0]
        with self._observed(progress):
            check_generation(generation, self._engine.capabilities)
            wanted = replace(
                generation,
                model=model,
                messages=join_neighbours(generation.messages),
                max_tokens=generation.max_tokens or DEFAULT_MAX_TOKENS,
            )
            async with self._slots.taken(), aclosing(self._within_context(wanted, progress)) as pieces:
                thinking = ThinkingFilter()
                completion: Completion | None = None
                async for piece in self._in_time(pieces, progress):
                    if isinstance(piece, Completion):
                        completion = piece
                        break
                    progress.note_piece()
                    if told := thinking.feed(piece):
                        self._note_delta(progress)
                        yield told
                if completion is None:
                    raise faults.upstream_incomplete()
                if told := thinking.finish():
                    self._note_delta(progress)
                    yield told
            progress.prompt_token_count = completion.prompt_token_count
            progress.completion_token_count = completion.completion_token_count
            yield Finished(
                completion.finish_reason,
                model,
                completion.prompt_token_count,
                completion.completion_token_count,
                progress.first_token_ms or 0,
                progress.elapsed_ms(),
            )

    async def warm_up(self, model: str, system_prompt: str) -> int:
        """Load the model and prefill the prompt; the result is the time that it took, in ms. Raises Fault."""
        check_model(model, self._engine.capabilities, "model")
        check_system_prompt(system_prompt)
        if not self._engine.capabilities.needs_warm_up:
            return 0
        arrived_at = monotonic()
        system = (Message("system", system_prompt),) if system_prompt.strip() else ()
        generation = Generation(
            (*system, Message("user", ".")),
            max_tokens=1,
            model=model or self._engine.capabilities.models[0],
        )
        try:
            async with (
                self._slots.taken(),
                asyncio.timeout(self._limits.load_timeout_ms / 1000),
                aclosing(self._engine.open_stream(generation)) as pieces,
            ):
                async for _ in pieces:
                    pass
        except TimeoutError:
            raise faults.load_timeout() from None
        except ContextOverflow:
            raise faults.prompt_too_long("system_prompt") from None
        return round((monotonic() - arrived_at) * 1000)

    async def list_models(self) -> tuple[Model, ...]:
        """The models that requests may name, the default one first. Raises Fault."""
        return await self._engine.list_models()

    async def _within_context(
        self, generation: Generation, progress: _Progress
    ) -> AsyncGenerator[str | Completion, None]:
        """The engine's pieces for a prompt that fits, found by estimating and, where that erred, by trying."""
        context = self._engine.capabilities.context_token_count
        room = context - min(generation.max_tokens, context // 4)
        fixed = fixed_part(generation.messages)
        if estimate_prompt(fixed) > context:
            raise faults.prompt_too_long("messages")
        previous: tuple[Message, ...] = ()
        for divisor in _SHRINKING:
            messages = fit(generation.messages, room // divisor)
            if messages == previous:
                continue
            previous = messages
            progress.dropped_count = len(generation.messages) - len(messages)
            try:
                async with aclosing(
                    self._engine.open_stream(replace(generation, messages=messages))
                ) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except ContextOverflow:
                continue
        raise faults.prompt_too_long("messages")

    async def _in_time(
        self, pieces: AsyncGenerator[str | Completion, None], progress: _Progress
    ) -> AsyncIterator[str | Completion]:
        """The pieces, each within its deadline. The time that the caller takes does not count as a stall."""
        limits = self._limits
        clock = asyncio.get_running_loop().time
        started_at = clock()
        answer_by = started_at + limits.answer_timeout_ms / 1000
        first_by = min(answer_by, started_at + limits.first_token_timeout_ms / 1000)
        stall_s = limits.stall_timeout_ms / 1000
        while True:
            waits_for_first = progress.first_token_ms is None
            deadline = first_by if waits_for_first else min(answer_by, clock() + stall_s)
            try:
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if waits_for_first:
                    raise faults.first_token_timeout() from None
                if clock() >= answer_by:
                    raise faults.answer_timeout() from None
                raise faults.answer_stalled() from None
            yield piece

    def _note_delta(self, progress: _Progress) -> None:
        progress.delta_count += 1
        if progress.first_token_ms is None:
            progress.first_token_ms = progress.elapsed_ms()
            self._metrics.first_token.observe(progress.first_token_ms / 1000)

    @contextmanager
    def _observed(self, progress: _Progress) -> Iterator[None]:
        """Counts and logs how an answer ended."""
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            self._record(progress, failure)

    def _record(self, progress: _Progress, failure: BaseException | None) -> None:
        metrics = self._metrics
        outcome, reason = ended_by(failure)
        metrics.request_ended(outcome, reason)
        if (rate := progress.tokens_per_second()) is not None:
            metrics.rate.observe(rate)
        metrics.answer.observe(progress.elapsed_ms() / 1000)
        metrics.deltas.inc(progress.delta_count)
        metrics.tokens.labels("prompt").inc(progress.prompt_token_count)
        metrics.tokens.labels("completion").inc(progress.completion_token_count)
        metrics.dropped_messages.inc(progress.dropped_count)
        _log.info(
            "chat.ended",
            outcome=outcome.value,
            reason=reason,
            first_token_ms=progress.first_token_ms,
            total_ms=progress.elapsed_ms(),
            delta_count=progress.delta_count,
            prompt_token_count=progress.prompt_token_count,
            completion_token_count=progress.completion_token_count,
            dropped_message_count=progress.dropped_count,
        )
