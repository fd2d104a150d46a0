"""The history of one channel: its newest messages, within bounds, and a record of what was lost.

A message is lost when it is removed: evicted, expired or deleted. A channel records its newest lost message, so that a
returning subscriber can be sent a gap if it missed any.
"""

import math
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple, Optional

from pushd.core.message import Message


class Bounds(NamedTuple):
    """The retention: how much history is kept. With zero messages there is none, only live delivery.

    The channels of presence events have bounds of their own, so that they and other channels evict nothing of each
    other.
    """

    messages: int = 1000
    """Per channel."""
    bytes: int = 4 << 20
    """Bytes of data per channel."""
    age: float = 86400.0
    """Seconds."""
    total_bytes: int = 256 << 20
    """Bytes of memory over all channels, including the overhead of each message; see `core.log`."""
    channels: int = 100_000
    """Channels with or without messages."""
    events: Optional["Bounds"] = None
    """Those of the channels of presence events; None: the default. Their age is the ttl of the events."""

    @property
    def of_events(self) -> "Bounds":
        """The bounds of the channels of presence events."""
        return self.events or EVENT_BOUNDS


EVENT_BOUNDS: Final = Bounds(1000, 4 << 20, 3600.0, 64 << 20, 100_000)
"""The bounds of the channels of presence events where nothing else is configured."""


class Retention(NamedTuple):
    """The retention of one channel; see `core.channel_rules`."""

    messages: int
    bytes: int
    """Bytes of data."""
    age: float | None = None
    """Seconds; None: `Bounds.age`."""


_FEW: Final = 32
"""The most messages in a list: removing the first of them costs as much as in a deque."""
_NONE: Final[list[Message]] = []
"""The messages of all channels without any; never changed."""


class Channel:
    """The history of one channel."""

    __slots__ = (
        "bytes",
        "deleted_at",
        "due",
        "ended",
        "head_at_loss",
        "last",
        "last_time",
        "loss_number",
        "lost",
        "lost_reason",
        "lost_time",
        "messages",
        "name",
        "retention",
    )

    def __init__(self, name: str, retention: Retention) -> None:
        self.name = name
        self.retention = retention
        self.due = math.inf
        """With an age of its own, when the log has to look for expired messages, in monotonic seconds; else infinite.
        """
        self.messages: deque[Message] | list[Message] = _NONE
        """The kept messages, oldest first. A list while they are few, since a deque takes 760 bytes even if empty."""
        self.bytes = 0
        """The bytes of their data."""
        self.last = 0
        """The sequence of the newest message, kept or not; 0 if there was none."""
        self.last_time = 0.0
        """When it was accepted, in unix seconds."""
        self.ended = False
        self.deleted_at = 0
        """The sequence of its deletion; 0 if it was not deleted."""
        self.lost = 0
        """The sequence of the newest lost message; 0 if there is none."""
        self.lost_time = 0.0
        """When it was accepted, in unix seconds."""
        self.lost_reason = ""
        """``evicted``, ``expired`` or ``unknown``."""
        self.loss_number = 0
        """The number of that loss among the losses of all channels; see `core.losses`."""
        self.head_at_loss = 0
        """The newest sequence of the log when that message was lost."""

    def append(self, message: Message) -> None:
        """Add a message. The caller enforces the bounds; see `exceeds`."""
        messages = self.messages
        if not messages:
            self.messages = [message]
        else:
            if len(messages) == _FEW and isinstance(messages, list):
                messages = self.messages = deque(messages)
            messages.append(message)
        self.bytes += len(message.data)
        self.last = message.seq
        self.last_time = message.time

    def exceeds(self, retention: Retention) -> bool:
        """Return whether the oldest message must be evicted."""
        return len(self.messages) > retention.messages or self.bytes > retention.bytes

    def remove_oldest(self, reason: str) -> Message:
        """Remove and return the oldest message, which is lost for `reason`."""
        messages = self.messages
        message = messages[0]
        if len(messages) > 1:
            del messages[0]
        else:
            self.messages = _NONE
        self._record_loss(message, reason)
        return message

    def remove(self, message: Message, reason: str) -> None:
        """Remove a message, which is lost for `reason`.

        :raises ValueError: when the message is not kept.
        """
        self.messages.remove(message)
        if not self.messages:
            self.messages = _NONE
        self._record_loss(message, reason)

    def after(self, seq: int) -> Iterator[Message]:
        """Iterate over the kept messages newer than sequence `seq`, oldest first."""
        return islice(self.messages, self._position(seq), None)

    def newest_upto(self, seq: int) -> Message | None:
        """Return the newest kept message up to sequence `seq`; None if there is none."""
        messages = self.messages
        if not messages:
            return None
        if messages[-1].seq <= seq:
            return messages[-1]
        number = self._position(seq)
        return messages[number - 1] if number else None

    def count(self, after: int, upto: int) -> int:
        """Return the number of kept messages after sequence `after`, up to `upto`."""
        return max(0, self._position(upto) - self._position(after))

    def is_finished(self, seq: int) -> bool:
        """Return whether the channel has ended and has no message newer than sequence `seq`."""
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

    def _record_loss(self, message: Message, reason: str) -> None:
        self.bytes -= len(message.data)
        if message.seq > self.lost:
            self.lost, self.lost_time, self.lost_reason = message.seq, message.time, reason
