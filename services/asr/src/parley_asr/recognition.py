"""`Recognition`: one live recognition, from samples to events. Knows no wire and no engine; `servicer` drives
it.

Silence is not recognised: while nobody speaks, only the last moments are kept, and handed to the recogniser
once the detector is sure that speech began, so that no first word is lost. Every ENDED is followed by exactly
one final transcript, also when the recogniser fails (then after UtteranceFailed, with an empty text).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from parley_asr import faults
from parley_asr.events import (
    AudioAcknowledged,
    RecognitionEvent,
    SpeechActivityChanged,
    TranscriptChanged,
    TranscriptFinished,
    UtteranceFailed,
)
from parley_asr.ports import (
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLE_COUNT,
    Hypothesis,
    RecognitionEngine,
    Samples,
    StreamRequest,
    VoiceActivityEngine,
    VoiceActivityStream,
)
from parley_asr.utterance import Utterance
from parley_asr.voice_activity import WINDOW_MS, Activity, ActivityKind, Endpointing, VoiceActivity
from parley_servicekit.faults import Fault

# One detector call; also how long audio can wait for a cancellation to be noticed.
_SLICE_SAMPLE_COUNT = 16 * WINDOW_SAMPLE_COUNT
# Decoding more often than this would only repeat the same text: partials come at most every 96 ms.
_DECODE_STEP_SAMPLE_COUNT = 3 * WINDOW_SAMPLE_COUNT
_PRE_ROLL_WINDOW_COUNT = 10  # 320 ms: a detector hears soft first consonants late
_HANGOVER_MS = 800  # what the recogniser hears of a pause: enough to flush the last word
_ACKNOWLEDGE_SAMPLE_COUNT = SAMPLE_RATE_HZ // 2
_ACKNOWLEDGE_INTERVAL_S = 0.8


@dataclass(frozen=True)
class RecognitionLimits:
    """What bounds a live recognition.

    min_speech_ms: speech in a row before it counts; utterance_max_ms: then it is ended and the next one
    begins; decode_timeout_ms: how long the engine may take for one call.
    """

    min_speech_ms: int = 96
    utterance_max_ms: int = 60_000
    decode_timeout_ms: int = 10_000


Emit = Callable[[RecognitionEvent], Awaitable[None]]


class Recognition:
    """One live recognition. Its methods are called one after the other; what they find out goes to `emit`."""

    def __init__(
        self,
        engine: RecognitionEngine,
        detector: VoiceActivityStream,
        activity: VoiceActivity,
        emit: Emit,
        clock: Callable[[], float],
        *,
        limits: RecognitionLimits = RecognitionLimits(),
        hot_words: tuple[str, ...] = (),
    ) -> None:
        """clock: monotonic seconds. detector is closed with the recognition, engine is not."""
        self._engine = engine
        self._detector = detector
        self._activity = activity
        self._emit = emit
        self._clock = clock
        self._limits = limits
        self._hot_words = hot_words
        self._utterance: Utterance | None = None
        self._utterance_index = 0
        self._rest: Samples = np.zeros(0, dtype=np.float32)  # less than a window
        self._window_count = 0
        # Four more than the onset itself takes, whatever the detector's delay.
        kept_count = _PRE_ROLL_WINDOW_COUNT + limits.min_speech_ms // WINDOW_MS + 4
        self._recent: deque[tuple[int, Samples]] = deque(maxlen=kept_count)
        self._acknowledged_samples = 0
        self._acknowledged_at_s = clock()

    @classmethod
    async def open(
        cls,
        engine: RecognitionEngine,
        detector_engine: VoiceActivityEngine,
        endpointing: Endpointing,
        emit: Emit,
        clock: Callable[[], float],
        *,
        limits: RecognitionLimits = RecognitionLimits(),
        hot_words: tuple[str, ...] = (),
    ) -> "Recognition":
        """A recognition with a detector stream of its own."""
        delay = detector_engine.onset_delay_window_count
        activity = VoiceActivity(
            endpointing,
            onset_delay_window_count=delay,
            min_speech_window_count=max(1, -(-limits.min_speech_ms // WINDOW_MS) - delay),
        )
        detector = await detector_engine.open_stream(endpointing.speech_threshold)
        return cls(engine, detector, activity, emit, clock, limits=limits, hot_words=hot_words)

    @property
    def position_samples(self) -> int:
        """How much audio has been accepted."""
        return self._window_count * WINDOW_SAMPLE_COUNT + len(self._rest)

    @property
    def in_utterance(self) -> bool:
        """Whether somebody is speaking, or the final transcript of it is still to come."""
        return self._activity.in_utterance or self._utterance is not None

    async def accept(self, samples: Samples) -> None:
        """Hear the next samples, any number of them."""
        for start in range(0, len(samples), _SLICE_SAMPLE_COUNT):
            piece = np.concatenate((self._rest, samples[start : start + _SLICE_SAMPLE_COUNT]))
            whole_count = len(piece) - len(piece) % WINDOW_SAMPLE_COUNT
            self._rest = piece[whole_count:]
            if whole_count:
                await self._hear(piece[:whole_count])
            await self._acknowledge()

    async def finish_utterance(self) -> None:
        """End the utterance now: exactly one final transcript, empty when nothing was said."""
        if self._utterance is not None and len(self._rest):
            self._utterance.append(self._rest, self._window_count * WINDOW_SAMPLE_COUNT)
        ended = self._activity.finish()
        if ended is not None:
            await self._end(ended)
        else:
            self._recent.clear()
            await self._emit_final(Hypothesis(""), self.position_samples, self.position_samples)

    async def discard_utterance(self) -> None:
        """Forget the utterance: nothing more is told about it."""
        self._activity.reset()
        self._recent.clear()
        if self._utterance is not None:
            self._close_utterance()

    async def finish(self) -> None:
        """No audio follows: end the utterance under way, if any."""
        if self._activity.in_utterance:
            await self.finish_utterance()

    def close(self) -> None:
        """Give everything up, also in the middle of a cancelled call."""
        if self._utterance is not None:
            self._utterance.stream.close()
            self._utterance = None
        self._detector.close()

    async def _hear(self, windows: Samples) -> None:
        answers = await self._detector.detect(windows)
        for index, is_speech in enumerate(answers):
            start = index * WINDOW_SAMPLE_COUNT
            await self._step(windows[start : start + WINDOW_SAMPLE_COUNT], is_speech)
        if self._utterance is not None and self._utterance.pending_sample_count >= _DECODE_STEP_SAMPLE_COUNT:
            await self._decode(self._utterance)

    async def _step(self, window: Samples, is_speech: bool) -> None:
        self._recent.append((self._window_count, window))
        self._window_count += 1
        activity = self._activity.step(is_speech)
        if activity is not None and activity.kind is ActivityKind.STARTED:
            await self._emit(SpeechActivityChanged(activity))
            await self._start(activity)
            return
        if self._utterance is None:
            return
        if self._activity.in_utterance and self._activity.silent_ms <= _HANGOVER_MS:
            self._feed_recent(self._utterance, activity)
        if activity is not None and activity.kind is ActivityKind.ENDED:
            await self._end(activity)
            return
        if activity is not None:
            await self._emit(SpeechActivityChanged(activity))
        length_samples = self._window_count * WINDOW_SAMPLE_COUNT - self._utterance.start_sample
        if length_samples * 1000 >= self._limits.utterance_max_ms * SAMPLE_RATE_HZ:
            cut = self._activity.finish()
            if cut is not None:
                await self._end(cut)

    async def _start(self, activity: Activity) -> None:
        try:
            async with asyncio.timeout(self._limits.decode_timeout_ms / 1000):
                stream = await self._engine.open_stream(StreamRequest(self._utterance_index, self._hot_words))
        except (Fault, TimeoutError) as error:
            await self._fail(error)
            return
        self._utterance = Utterance(self._utterance_index, stream, activity.offset_samples)
        self._feed_recent(self._utterance, activity)

    def _feed_recent(self, utterance: Utterance, activity: Activity | None) -> None:
        """Everything kept, from the pre-roll of a start or resumption on."""
        first = 0
        if activity is not None and activity.kind in (ActivityKind.STARTED, ActivityKind.RESUMED):
            first = activity.offset_samples // WINDOW_SAMPLE_COUNT - _PRE_ROLL_WINDOW_COUNT
        for index, window in self._recent:
            if index >= first:
                utterance.append(window, index * WINDOW_SAMPLE_COUNT)
        self._recent.clear()

    async def _decode(self, utterance: Utterance) -> None:
        try:
            async with asyncio.timeout(self._limits.decode_timeout_ms / 1000):
                text = await utterance.stream.decode(utterance.take_pending())
        except (Fault, TimeoutError) as error:
            await self._fail(error)
            return
        if text != utterance.text:
            stability = utterance.stability_of(text)
            utterance.text = text
            await self._emit(
                TranscriptChanged(
                    utterance.index,
                    text,
                    stability,
                    utterance.start_sample,
                    self._window_count * WINDOW_SAMPLE_COUNT,
                )
            )

    async def _end(self, ended: Activity) -> None:
        utterance = self._utterance
        self._recent.clear()
        await self._emit(SpeechActivityChanged(ended))
        start = utterance.start_sample if utterance is not None else ended.offset_samples
        hypothesis = Hypothesis("")
        if utterance is not None:
            try:
                async with asyncio.timeout(self._limits.decode_timeout_ms / 1000):
                    if utterance.pending_sample_count:
                        await utterance.stream.decode(utterance.take_pending())
                    hypothesis = await utterance.stream.finish()
                hypothesis = Hypothesis(hypothesis.text, utterance.placed(hypothesis.words))
            except (Fault, TimeoutError) as error:
                await self._emit(UtteranceFailed(self._utterance_index, _as_fault(error)))
        await self._emit_final(hypothesis, start, max(start, ended.offset_samples))

    async def _emit_final(self, hypothesis: Hypothesis, start_sample: int, end_sample: int) -> None:
        index = self._utterance_index
        self._close_utterance()
        await self._emit(
            TranscriptFinished(index, hypothesis.text, hypothesis.words, start_sample, end_sample)
        )

    async def _fail(self, error: Fault | TimeoutError) -> None:
        """Tell, and go on with the next utterance."""
        index = self._utterance_index
        self._activity.reset()
        self._recent.clear()
        self._close_utterance()
        await self._emit(UtteranceFailed(index, _as_fault(error)))

    def _close_utterance(self) -> None:
        """Whether or not anything was recognised: the next one has the next index."""
        if self._utterance is not None:
            self._utterance.stream.close()
        self._utterance = None
        self._utterance_index += 1

    async def _acknowledge(self) -> None:
        now_s = self._clock()
        new_count = self.position_samples - self._acknowledged_samples
        is_due = (
            new_count >= _ACKNOWLEDGE_SAMPLE_COUNT
            or now_s - self._acknowledged_at_s >= _ACKNOWLEDGE_INTERVAL_S
        )
        if new_count > 0 and is_due:
            self._acknowledged_samples = self.position_samples
            self._acknowledged_at_s = now_s
            await self._emit(AudioAcknowledged(self.position_samples))


def _as_fault(error: Fault | TimeoutError) -> Fault:
    return error if isinstance(error, Fault) else faults.decoding_too_slow()
