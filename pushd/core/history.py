"""The history of one channel: its newest messages, within bounds, and the memory of what was lost.

A channel remembers the newest message that it had to let go, so that a returning subscriber can be told whether
it missed any.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from pushd.core.message import Message


class Bounds(NamedTuple):
    """How much history is kept. Zero messages: none, so that every message is for those who listen now."""

    messages: int = 1000
    """In one channel."""
    bytes: int = 4 << 20
    """Of data, in one channel."""
    age: float = 86400.0
    """Seconds."""
    total_bytes: int = 256 << 20
    """Over all channels, what is kept beside the data included: see `core.log`."""
    channels: int = 100_000


class Channel:
    """What is kept of one channel."""

    __slots__ = (
        "bytes",
        "ended",
        "last",
        "last_time",
        "lost",
        "lost_at",
        "lost_number",
        "lost_reason",
        "lost_time",
        "messages",
        "name",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: deque[Message] = deque()
        self.bytes = 0
        """Of the data of its messages."""
        self.last = 0
        """The sequence of its newest message, kept or not; 0 before the first."""
        self.last_time = 0.0
        self.ended = False
        self.lost = 0
        """The sequence of the newest message that was let go; 0 for none."""
        self.lost_time = 0.0
        self.lost_reason = ""
        self.lost_number = 0
        """The place of its newest loss among those of all channels; see `core.losses`."""
        self.lost_at = 0
        """The newest sequence of the log at that moment."""

    def append(self, message: Message) -> None:
        """Take a message. Keeping within the bounds is the caller's: it knows what they are."""
        self.messages.append(message)
        self.bytes += len(message.data)
        self.last = message.seq
        self.last_time = message.time

    def exceeds(self, bounds: Bounds) -> bool:
        """Tell whether the oldest message has to go."""
        return len(self.messages) > bounds.messages or self.bytes > bounds.bytes

    def lose_oldest(self, reason: str) -> Message:
        """Let go of the oldest message and give it back."""
        message = self.messages.popleft()
        self._lose(message, reason)
        return message

    def lose(self, message: Message, reason: str) -> None:
        """Let go of any message of its own.

        :raises ValueError: it is not kept.
        """
        self.messages.remove(message)
        self._lose(message, reason)

    def after(self, seq: int) -> Iterator[Message]:
        """Go through the kept messages that are newer than sequence `seq`, oldest first."""
        return islice(self.messages, self._position(seq), None)

    def is_finished(self, seq: int) -> bool:
        """Tell whether it has ended and one who heard all up to `seq` has heard it all."""
        return self.ended and (self.messages[-1].seq if self.messages else self.lost) <= seq

    def _position(self, seq: int) -> int:
        low, high = 0, len(self.messages)
        if not high or self.messages[-1].seq <= seq:
            return high
        while low < high:
            middle = (low + high) // 2
            if self.messages[middle].seq <= seq:
                low = middle + 1
            else:
                high = middle
        return low

    def _lose(self, message: Message, reason: str) -> None:
        self.bytes -= len(message.data)
        if message.seq > self.lost:
            self.lost, self.lost_time, self.lost_reason = message.seq, message.time, reason
