"""The decoding thread never does what ends the process, whatever its callers do."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from parley_asr.engines.batch_decoder import BatchDecoder
from parley_asr.ports import Samples
from parley_servicekit.faults import Fault

WINDOW, TAIL = 100, 250


@dataclass
class StrictStream:
    """Counts samples; refuses what the library would die of."""

    heard: int = 0
    decoded: int = 0
    is_finished: bool = False

    def accept_waveform(self, rate_hz: int, samples: Samples) -> None:
        assert rate_hz == 16_000 and not self.is_finished and samples.dtype == np.float32
        self.heard += len(samples)

    def input_finished(self) -> None:
        self.is_finished = True


@dataclass
class StrictRecognizer:
    """Stands in for sherpa_onnx.OnlineRecognizer, and raises where that would end the process."""

    batches: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    poisoned: StrictStream | None = None

    def is_ready(self, stream: StrictStream) -> bool:
        return stream.heard - stream.decoded >= WINDOW

    def decode_streams(self, streams: list[StrictStream]) -> None:
        self.gate.wait()
        assert streams, "an empty batch is a segmentation fault"
        assert len({id(stream) for stream in streams}) == len(streams), "twice in a batch is one too"
        if self.poisoned is not None and any(stream is self.poisoned for stream in streams):
            raise RuntimeError("what somebody said")
        for stream in streams:
            assert self.is_ready(stream), "a stream that is not ready ends the process"
            stream.decoded += WINDOW
        self.batches.append(len(streams))

    def get_result(self, stream: StrictStream) -> str:
        return f"{stream.decoded}"

    def tokens(self, stream: StrictStream) -> list[str]:
        return ["a"]

    def timestamps(self, stream: StrictStream) -> list[float]:
        return [0.5]


@pytest.fixture
async def recognizer() -> StrictRecognizer:
    made = StrictRecognizer()
    made.gate.set()
    return made


@pytest.fixture
async def decoder(recognizer: StrictRecognizer) -> AsyncIterator[BatchDecoder]:
    opened = BatchDecoder(recognizer, TAIL, 4, lambda count, waits_s: None)
    yield opened
    recognizer.gate.set()
    await opened.close()


def samples(count: int) -> Samples:
    return np.zeros(count, dtype=np.float32)


async def test_a_call_returns_when_all_that_fills_a_window_is_decoded(decoder: BatchDecoder) -> None:
    stream = StrictStream()
    assert (await decoder.decode(stream, samples(99), is_last=False)).text == "0"
    assert (await decoder.decode(stream, samples(1), is_last=False)).text == "100"
    assert (await decoder.decode(stream, samples(250), is_last=False)).text == "300"


async def test_the_last_call_pads_with_silence_and_tells_the_tokens(decoder: BatchDecoder) -> None:
    stream = StrictStream()
    decoded = await decoder.decode(stream, samples(60), is_last=True)
    assert (decoded.text, decoded.tokens, decoded.times_s) == ("300", ("a",), (0.5,))
    assert stream.is_finished


async def test_those_who_wait_are_decoded_together_and_no_batch_is_too_large(
    decoder: BatchDecoder, recognizer: StrictRecognizer
) -> None:
    recognizer.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        for index in range(9):
            tasks.create_task(decoder.decode(StrictStream(), samples(200), is_last=False), name=f"{index}")
        await asyncio.sleep(0)
        recognizer.gate.set()
    assert sum(recognizer.batches) == 18
    assert max(recognizer.batches) == 4


async def test_a_cancelled_call_is_dropped_and_the_rest_goes_on(
    decoder: BatchDecoder, recognizer: StrictRecognizer
) -> None:
    recognizer.gate.clear()
    abandoned, kept = StrictStream(), StrictStream()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(decoder.decode(abandoned, samples(100_000), is_last=False), name="first")
        second = tasks.create_task(decoder.decode(kept, samples(300), is_last=False), name="second")
        await asyncio.sleep(0)
        first.cancel()
        recognizer.gate.set()
    assert second.result().text == "300"
    assert abandoned.decoded < 100_000


async def test_a_batch_that_raises_fails_its_calls_without_their_words_and_the_thread_lives(
    decoder: BatchDecoder, recognizer: StrictRecognizer
) -> None:
    recognizer.poisoned = StrictStream()
    with pytest.raises(Fault) as failed:
        await decoder.decode(recognizer.poisoned, samples(100), is_last=False)
    assert "said" not in str(failed.value)
    assert (await decoder.decode(StrictStream(), samples(100), is_last=False)).text == "100"


async def test_closing_fails_what_waits(recognizer: StrictRecognizer) -> None:
    decoder = BatchDecoder(recognizer, TAIL, 4, lambda count, waits_s: None)
    recognizer.gate.clear()

    async def refused() -> str:
        try:
            await decoder.decode(StrictStream(), samples(10_000), is_last=False)
        except Fault as fault:
            return fault.reason
        return "decoded"

    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(refused(), name="call")
        await asyncio.sleep(0)
        closing = tasks.create_task(decoder.close(), name="close")
        await asyncio.sleep(0)
        recognizer.gate.set()
        await closing
    assert call.result() == "ENGINE_CLOSED"
    with pytest.raises(Fault, match="ENGINE_CLOSED"):
        await decoder.decode(StrictStream(), samples(1), is_last=False)


async def test_it_tells_how_many_wait_and_of_each_wait_once(recognizer: StrictRecognizer) -> None:
    told: list[tuple[int, int]] = []
    decoder = BatchDecoder(recognizer, TAIL, 4, lambda count, waits_s: told.append((count, len(waits_s))))
    recognizer.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        for index in range(6):
            tasks.create_task(decoder.decode(StrictStream(), samples(200), is_last=False), name=f"{index}")
            while index == 0 and not told:  # the thread is in a batch of one
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert decoder.waiting_count == 5
        recognizer.gate.set()
    assert decoder.waiting_count == 0
    assert told[0] == (1, 1)
    assert sum(count for count, _ in told) == 12, "two windows each"
    assert sum(waits for _, waits in told) == 6
    await decoder.close()
