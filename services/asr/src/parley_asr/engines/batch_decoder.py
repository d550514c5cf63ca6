"""`BatchDecoder`: one thread that decodes the audio of all streams of one sherpa-onnx recogniser, many in one
run.

Used by `sherpa_streaming`. The thread takes whatever is ready as soon as it is free: alone a stream waits for
nobody, and the more streams wait, the larger the batch. It is the only one to touch recogniser and streams,
because the library ends the process when a stream is decoded that is not ready, is in two calls at once, or
twice in a batch.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parley_asr import faults
from parley_asr.ports import SAMPLE_RATE_HZ, Samples
from parley_servicekit.faults import Fault
from parley_servicekit.logs import get_logger

_log = get_logger()

BatchBegun = Callable[[int, Sequence[float]], None]
"""Called in the thread with the size of a batch, and for those in it whose wait ends with it, the wait in seconds."""


@dataclass(frozen=True)
class Decoded:
    """What a stream was understood as so far; tokens and their times in seconds only once it is finished."""

    text: str
    tokens: tuple[str, ...] = ()
    times_s: tuple[float, ...] = ()


@dataclass(eq=False)
class _Job:
    stream: Any
    samples: Samples
    is_last: bool
    answer: asyncio.Future[Decoded]
    arrived_at_s: float
    waits: bool = True


class BatchDecoder:
    """Owns the decoding thread. All methods are called in one event loop."""

    def __init__(
        self,
        recognizer: Any,
        tail_sample_count: int,
        batch_max_count: int,
        batch_begun: BatchBegun,
    ) -> None:
        """recognizer: a sherpa_onnx.OnlineRecognizer.

        tail_sample_count: zeros after the last sample, without which the last partial window is never
        decoded.
        """
        self._recognizer = recognizer
        self._tail = np.zeros(tail_sample_count, dtype=np.float32)
        self._batch_max_count = batch_max_count
        self._batch_begun = batch_begun
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._arrived: list[_Job] = []
        self._left_over_count = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="asr-decoder", daemon=True)
        self._thread.start()

    @property
    def waiting_count(self) -> int:
        """Jobs that the thread has not taken up, or has taken up and left out of the batch that it is in."""
        return len(self._arrived) + self._left_over_count

    async def decode(self, stream: Any, samples: Samples, *, is_last: bool) -> Decoded:
        """Feed samples to a stream and decode all of it that is ready. Raises Fault.

        A stream whose call was cancelled must not be used again.
        """
        check_samples(samples)
        answer: asyncio.Future[Decoded] = self._loop.create_future()
        with self._changed:
            if self._closed:
                raise faults.engine_closed()
            self._arrived.append(_Job(stream, samples, is_last, answer, time.monotonic()))
            self._changed.notify()
        return await answer

    async def close(self) -> None:
        """Fail what waits, and end the thread after the batch it is in."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        jobs: list[_Job] = []
        while True:
            with self._changed:
                while not (jobs or self._arrived or self._closed):
                    self._changed.wait()
                arrived, self._arrived = self._arrived, []
                if self._closed:
                    break
            answers: list[tuple[_Job, Decoded | Fault]] = []
            jobs = self._round(jobs + self._fed(arrived, answers), answers)
            self._settle(answers)
        self._settle([(job, faults.engine_closed()) for job in jobs + arrived])

    def _fed(self, arrived: list[_Job], answers: list[tuple[_Job, Decoded | Fault]]) -> list[_Job]:
        """Those of the new jobs whose audio their streams have taken."""
        fed = []
        for job in arrived:
            try:
                if len(job.samples):
                    job.stream.accept_waveform(SAMPLE_RATE_HZ, job.samples)
                if job.is_last:
                    job.stream.accept_waveform(SAMPLE_RATE_HZ, self._tail)
                    job.stream.input_finished()
                fed.append(job)
            except Exception as error:
                answers.append((job, _failure(error)))
        return fed

    def _round(self, jobs: list[_Job], answers: list[tuple[_Job, Decoded | Fault]]) -> list[_Job]:
        """Decode one window of each stream that has one; the jobs that are not done yet, fairest first."""
        ready = []
        for job in jobs:
            if job.answer.cancelled():
                continue
            try:
                if self._recognizer.is_ready(job.stream):
                    ready.append(job)
                else:
                    answers.append((job, self._result(job)))
            except Exception as error:
                answers.append((job, _failure(error)))
        batch, waiting = ready[: self._batch_max_count], ready[self._batch_max_count :]
        self._left_over_count = len(waiting)
        if batch:
            self._tell_begun(batch)
            try:
                self._recognizer.decode_streams([job.stream for job in batch])
            except Exception as error:
                answers.extend((job, _failure(error)) for job in batch)
                batch = []
        return waiting + batch

    def _tell_begun(self, batch: Sequence[_Job]) -> None:
        now_s = time.monotonic()
        self._batch_begun(len(batch), [now_s - job.arrived_at_s for job in batch if job.waits])
        for job in batch:
            job.waits = False

    def _result(self, job: _Job) -> Decoded:
        text = self._recognizer.get_result(job.stream)
        if not job.is_last:
            return Decoded(text)
        tokens, times_s = self._recognizer.tokens(job.stream), self._recognizer.timestamps(job.stream)
        return Decoded(text, tuple(tokens), tuple(times_s))

    def _settle(self, answers: Sequence[tuple[_Job, Decoded | Fault]]) -> None:
        if not answers:
            return
        try:
            self._loop.call_soon_threadsafe(_give, answers)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def check_samples(samples: Samples) -> None:
    """Raises ValueError for what the library would misread: not float32, not one row, not finite."""
    if samples.dtype != np.float32 or samples.ndim != 1 or not samples.flags.c_contiguous:
        raise ValueError("samples must be a contiguous row of float32")
    if not np.isfinite(samples).all():
        raise ValueError("samples must be finite")


def _give(answers: Sequence[tuple[_Job, Decoded | Fault]]) -> None:
    for job, answer in answers:
        if job.answer.done():
            continue
        if isinstance(answer, Fault):
            job.answer.set_exception(answer)
        else:
            job.answer.set_result(answer)


def _failure(error: Exception) -> Fault:
    _log.error("decoder.failed", exc_info=error)
    return faults.decoding_failed()
