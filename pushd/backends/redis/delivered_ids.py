"""The ids that a node has received, so that each message is delivered once, whatever else arrives over pub/sub.

Any client of Redis can publish under the prefix of pushd. So a sequence that was received is no proof that Redis
has assigned it, and must not make true messages look old. Proof is a heartbeat of this node that has returned: its head
was assigned by Redis, and everything up to it was published, and so received, before it.
"""

from typing import Final

from pushd.core.message import Exclusion, Message

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
        self._exclusions: dict[int, Exclusion] = {}
        """The exclusions of those that have one."""

    @property
    def is_full(self) -> bool:
        """Whether too many messages have arrived since the last heartbeat."""
        return len(self._recent) >= _RECENT

    def restart(self, seq: int) -> None:
        """Start anew: everything up to `seq` was received, or will be read from the history."""
        self.floor = self._head = seq
        self._clear()

    def advance(self, head: int) -> None:
        """Called with a head of the log that Redis itself has reported."""
        self._head = max(self._head, head)

    def add(self, message: Message, exclude: Exclusion | None = None) -> None:
        """Record a message that is delivered, and the connection to which it is not."""
        self._recent[message.seq] = message.channel, hash(message.data)
        if exclude is not None:
            self._exclusions[message.seq] = exclude
        elif self._exclusions:
            self._exclusions.pop(message.seq, None)

    def has(self, message: Message) -> bool:
        """Return whether a message was received before. One with the same sequence and other data was forged."""
        seq = message.seq
        return seq <= self.floor or (seq in self._recent and self._recent[seq] == (message.channel, hash(message.data)))

    def is_withheld(self, message: Message, exclude: Exclusion | None) -> bool:
        """Return whether a copy of a message that was received before was not delivered to a connection that this copy
        does not exclude: then that one was forged.
        """
        return self._exclusions.get(message.seq, exclude) != exclude

    def is_plausible(self, seq: int) -> bool:
        """Return whether Redis may have assigned a sequence by now."""
        return seq <= self._head + _SLACK

    def newest(self, head: int) -> int:
        """Return the newest received sequence that Redis can have assigned when its head was `head`."""
        return max((seq for seq in self._recent if seq <= head), default=min(self.floor, head))

    def confirm(self, head: int) -> set[str]:
        """Called when a heartbeat with this head has returned; return the channels of forged messages."""
        forged = {channel for seq, (channel, _) in self._recent.items() if seq > head}
        self._clear()
        self.floor = max(self.floor, head)
        self.advance(head)
        return forged

    def _clear(self) -> None:
        self._recent.clear()
        self._exclusions.clear()
