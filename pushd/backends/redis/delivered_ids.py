"""The ids that a node has received, so that each message is delivered once, whatever else arrives over pub/sub.

Any client of Redis can publish under the prefix of pushd. So a sequence that was received is no proof that Redis
has assigned it, and must not make true messages look old. Proof is a heartbeat of this node that has returned: its head
was assigned by Redis, and everything up to it was published, and so received, before it.
"""

from typing import Final

from pushd.core.message import Message

_SLACK: Final = 100_000
"""Sequences that may be assigned between two heartbeats; what is farther ahead must be verified before."""
_RECENT: Final = 250_000
"""The most messages between two heartbeats."""


class DeliveredIds:
    """The sequences of the current epoch that were delivered.

    :ivar floor: everything up to it was received.
    """

    def __init__(self) -> None:
        self.floor = 0
        self._head = 0
        """The greatest sequence that Redis is known to have assigned."""
        self._recent: dict[int, tuple[str, int]] = {}
        """The channel and a hash of the data of each message received since the floor, by sequence."""

    @property
    def is_full(self) -> bool:
        """Whether too many messages have arrived since the last heartbeat."""
        return len(self._recent) >= _RECENT

    def restart(self, seq: int) -> None:
        """Start anew: everything up to `seq` was received, or will be read from the history."""
        self.floor = self._head = seq
        self._recent.clear()

    def advance(self, head: int) -> None:
        """Called with a head of the log that Redis itself has reported."""
        self._head = max(self._head, head)

    def add(self, message: Message) -> None:
        """Record a message that is delivered."""
        self._recent[message.seq] = message.channel, hash(message.data)

    def has(self, message: Message) -> bool:
        """Return whether a message was received before. One with the same sequence and other data was forged."""
        seq = message.seq
        return seq <= self.floor or (seq in self._recent and self._recent[seq] == (message.channel, hash(message.data)))

    def is_plausible(self, seq: int) -> bool:
        """Return whether Redis may have assigned a sequence by now."""
        return seq <= self._head + _SLACK

    def newest(self, head: int) -> int:
        """Return the newest received sequence that Redis can have assigned when its head was `head`."""
        return max((seq for seq in self._recent if seq <= head), default=min(self.floor, head))

    def confirm(self, head: int) -> set[str]:
        """Called when a heartbeat with this head has returned; return the channels of forged messages."""
        forged = {channel for seq, (channel, _) in self._recent.items() if seq > head}
        self._recent.clear()
        self.floor = max(self.floor, head)
        self.advance(head)
        return forged
