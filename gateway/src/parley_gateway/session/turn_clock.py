"""`TurnClock`: the session's clock, which wakes the turn taker when something is due. Run by the session."""

import asyncio
from collections.abc import Callable

from parley_gateway.turns import events
from parley_gateway.turns.turn_taker import TurnTaker

# A client that stops sending audio in the middle of speech never lets the recogniser see silence.
_INPUT_STOPPED_MS = 2000


class TurnClock:
    """Milliseconds since the session began, and TimeAdvanced and InputAudioStopped in time."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        turn_taker: TurnTaker,
        feed: Callable[[events.Event], None],
    ) -> None:
        """monotonic: seconds."""
        self._monotonic = monotonic
        self._began_at_s = monotonic()
        self._turn_taker = turn_taker
        self._feed = feed
        self._changed = asyncio.Event()
        self._planned_ms: float | None = None
        self._speaks = False
        self._audio_at_ms = 0.0

    def now_ms(self) -> float:
        """Milliseconds since the session began."""
        return (self._monotonic() - self._began_at_s) * 1000

    def now(self) -> int:
        """The same in whole milliseconds, for events."""
        return round(self.now_ms())

    def audio_came(self) -> None:
        """The client sent audio."""
        self._audio_at_ms = self.now_ms()

    def person_speaks(self, speaks: bool) -> None:
        """Whether an utterance is under way; only then does it matter that audio stops."""
        self._speaks = speaks
        self._audio_at_ms = self.now_ms()
        self.reschedule()

    def reschedule(self) -> None:
        """Something changed. Only an earlier wake-up disturbs the one that is planned."""
        due_ms = self._due_ms()
        if due_ms is not None and (self._planned_ms is None or due_ms < self._planned_ms):
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._planned_ms = self._due_ms()
            self._changed.clear()
            try:
                async with asyncio.timeout(self._wait_s()):
                    await self._changed.wait()
            except TimeoutError:
                self._wake()

    def _wake(self) -> None:
        if self._speaks and self.now_ms() >= self._audio_at_ms + _INPUT_STOPPED_MS:
            self._speaks = False
            self._feed(events.InputAudioStopped(self.now()))
        self._feed(events.TimeAdvanced(self.now()))

    def _due_ms(self) -> float | None:
        wake_ms = self._turn_taker.next_wake_ms
        if not self._speaks:
            return wake_ms
        stopped_ms = self._audio_at_ms + _INPUT_STOPPED_MS
        return stopped_ms if wake_ms is None else min(wake_ms, stopped_ms)

    def _wait_s(self) -> float | None:
        # Rounded up, so that a wake-up is never a moment early and has to be repeated at once.
        return None if self._planned_ms is None else max(0.0, self._planned_ms - self.now_ms() + 1) / 1000
