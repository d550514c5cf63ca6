"""`StreamFlow`: credit and messages of one stream at one end of a link. Pure; used by `link_stream`.

The rules and all limits of `parley.link.v1` are here or in `link_frames`; the proto says them in prose.
"""

from collections import deque

from parley_servicekit.faults import Fault

# 0.7 s of 24 kHz PCM: more would be spoken ahead for nobody when a person interrupts.
WINDOW_BYTES = 32 * 1024
# What a message costs besides its length, so that empty ones are not free: at most 512 wait to be read.
MESSAGE_COST_BYTES = 64
# A batch with a single message stays below what gRPC takes, 1 MiB.
MESSAGE_MAX_BYTES = (1 << 20) - 4096


def violation(problem: str) -> Fault:
    """The peer breaks the rules; the link has to be closed."""
    return Fault.caller("LINK_VIOLATION", f"the peer broke the rules of the link: {problem}")


class StreamFlow:
    """Both directions of one stream. Messages are bytes; costs and credit are in bytes."""

    def __init__(self) -> None:
        self.inbox: deque[bytes] = deque()
        self._may_send = WINDOW_BYTES
        self._may_receive = WINDOW_BYTES
        self._read = 0

    @property
    def can_send(self) -> bool:
        """Whether a message, of any size, may leave now."""
        return self._may_send > 0

    def sent(self, message: bytes) -> None:
        """A message leaves; allowed only while `can_send`."""
        self._may_send -= cost(message)

    def granted(self, credit: int) -> None:
        """The peer gives credit back. Raises the violation when it is more than was ever spent."""
        if credit == 0 or self._may_send + credit > WINDOW_BYTES:
            raise violation("credit that was not spent")
        self._may_send += credit

    def received(self, message: bytes) -> None:
        """A message came. Raises the violation when the peer had no credit for it."""
        if self._may_receive <= 0:
            raise violation("a message without credit")
        if len(message) > MESSAGE_MAX_BYTES:
            raise violation("a message that is too long")
        self._may_receive -= cost(message)
        self.inbox.append(message)

    def take(self) -> tuple[bytes, int]:
        """The oldest message of a filled inbox, and the credit to be granted for what was read (0: not yet)."""
        message = self.inbox.popleft()
        self._read += cost(message)
        if self._read < WINDOW_BYTES // 2:
            return message, 0
        credit, self._read = self._read, 0
        self._may_receive += credit
        return message, credit


def cost(message: bytes) -> int:
    """What a message takes of the credit."""
    return len(message) + MESSAGE_COST_BYTES
