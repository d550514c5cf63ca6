"""`Outbox`: what a session has for its client, in order, bounded. Filled by the session, emptied by the entrypoint."""

import asyncio
from collections import deque

from parley_gateway.session.outputs import Output, Ready, ReplyAudio, ReplyPhrase, ReplyText

# Above this a producer waits: a client that reads never comes near it.
_OUTPUT_MAX_COUNT = 256
# Above this there is no room for more audio. It comes at the pace of playing, so a client that reads leaves none
# lying; for one that does not, this and what gRPC buffers stay under a second.
_AUDIO_MAX_MS = 200.0


class Outbox:
    """A queue whose producers wait when it is full, and from which a reply that was stopped can be taken back.

    Nothing leaves before `open`: whatever happens while the session starts, the client gets Ready first.
    """

    def __init__(self) -> None:
        self._outputs: deque[Output] = deque()
        self._audio_ms = 0.0
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._is_open = False
        self._is_closed = False
        self._silenced_reply_id = 0

    async def put(self, output: Output) -> None:
        """Append; waits for room. What belongs to a silenced reply is dropped, as is everything after `close`."""
        while len(self._outputs) >= _OUTPUT_MAX_COUNT and not self._is_closed:
            self._writable.clear()
            await self._writable.wait()
        self.put_now(output)

    @property
    def has_room_for_audio(self) -> bool:
        """Whether little enough audio waits for the client."""
        return self._audio_ms < _AUDIO_MAX_MS or self._is_closed

    async def wait_room_for_audio(self) -> None:
        """Return when there is some, or the outbox is closed."""
        while not self.has_room_for_audio:
            self._writable.clear()
            await self._writable.wait()

    def put_now(self, output: Output) -> None:
        """The same without waiting, for the few outputs of a session that ends: the bound does not hold for them."""
        if not self._is_closed and not self._is_silenced(output):
            self._outputs.append(output)
            self._audio_ms += _audio_ms(output)
            self._readable.set()

    def open(self, ready: Ready) -> None:
        """Put Ready before everything that waits already, and let it all leave."""
        self._outputs.appendleft(ready)
        self._is_open = True
        self._readable.set()

    def silence(self, reply_id: int) -> None:
        """Drop what is still here of replies up to this one, now and later."""
        self._silenced_reply_id = max(self._silenced_reply_id, reply_id)
        self._outputs = deque(output for output in self._outputs if not self._is_silenced(output))
        self._audio_ms = sum(map(_audio_ms, self._outputs))
        self._writable.set()

    async def get(self) -> Output | None:
        """The next output; None when the outbox is closed and empty."""
        while not (self._outputs and self._is_open):
            if self._is_closed:
                return None
            self._readable.clear()
            await self._readable.wait()
        self._writable.set()
        output = self._outputs.popleft()
        self._audio_ms -= _audio_ms(output)
        return output

    def close(self) -> None:
        """Nothing more will be put; `get` gives what is left, and nothing at all if it was never opened."""
        self._is_closed = True
        self._readable.set()
        self._writable.set()

    def _is_silenced(self, output: Output) -> bool:
        return (
            isinstance(output, ReplyText | ReplyPhrase | ReplyAudio)
            and output.reply_id <= self._silenced_reply_id
        )


def _audio_ms(output: Output) -> float:
    return output.audio.duration_ms if isinstance(output, ReplyAudio) else 0.0
