"""`StreamPlaces`: where the samples of one recognition stream lie in the session's input. Pure; used by `Listening`."""

from collections import deque
from dataclasses import replace

from parley_gateway.ports import (
    Audio,
    Heard,
    InputSafe,
    RecognitionEvent,
    SpeechBegan,
    SpeechHalted,
    SpeechOver,
    UtteranceFailed,
)

# Events speak of the last moments only; who presses push-to-talk more often than that in them is not followed.
_PLACE_MAX_COUNT = 8
# Clients and services round to their own ticks.
_TOLERANCE_MS = 1.0


class StreamPlaces:
    """A stream counts from its own first sample, which may be anywhere in the session.

    A gap in the input is silence for the recogniser, unless gaps are bridged: then it never happened.
    """

    def __init__(self, *, bridges_gaps: bool) -> None:
        self._bridges_gaps = bridges_gaps
        # Where in the stream a piece begins, and where in the session.
        self._places: deque[tuple[float, float]] = deque(maxlen=_PLACE_MAX_COUNT)
        self._stream_end_ms = 0.0
        self._session_end_ms = 0.0

    def placed_audio(self, audio: Audio) -> Audio:
        """Session audio with its offset in the stream; called in order."""
        has_gap = audio.start_offset_ms - self._session_end_ms > _TOLERANCE_MS
        if not self._places or (has_gap and self._bridges_gaps):
            self._places.append((self._stream_end_ms, audio.start_offset_ms))
        stream_from_ms, session_from_ms = self._places[-1]
        start_ms = stream_from_ms + audio.start_offset_ms - session_from_ms
        self._stream_end_ms = start_ms + audio.duration_ms
        self._session_end_ms = audio.start_offset_ms + audio.duration_ms
        return Audio(audio.packets, start_ms, audio.duration_ms)

    def placed(self, event: RecognitionEvent) -> RecognitionEvent:
        """The event with offsets from the session's first sample."""
        match event:
            case Heard():
                words = [
                    replace(
                        word,
                        start_offset_ms=self._start_ms(word.start_offset_ms),
                        end_offset_ms=self._end_ms(word.end_offset_ms),
                    )
                    for word in event.words
                ]
                start_ms, end_ms = event.start_offset_ms, event.end_offset_ms
                return replace(
                    event,
                    words=words,
                    start_offset_ms=None if start_ms is None else self._start_ms(start_ms),
                    end_offset_ms=None if end_ms is None else self._end_ms(end_ms),
                )
            case SpeechBegan():
                return replace(event, offset_ms=self._start_ms(event.offset_ms))
            case SpeechHalted() | SpeechOver() | InputSafe():
                return replace(event, offset_ms=self._end_ms(event.offset_ms))
            case UtteranceFailed():
                return event

    def _start_ms(self, offset_ms: float) -> float:
        """Of two pieces that meet there, the later one: something begins."""
        known = [place for place in self._places if place[0] <= offset_ms]
        return self._from(known, offset_ms)

    def _end_ms(self, offset_ms: float) -> float:
        """Of two pieces that meet there, the earlier one: something ends."""
        known = [place for place in self._places if place[0] < offset_ms]
        return self._from(known, offset_ms)

    def _from(self, known: list[tuple[float, float]], offset_ms: float) -> float:
        if not self._places:
            return offset_ms
        stream_from_ms, session_from_ms = known[-1] if known else self._places[0]
        return session_from_ms + offset_ms - stream_from_ms
