"""A record: what is known of one channel, whether or not it has messages."""

from collections import deque
from typing import NamedTuple

from pushd.core.history import Bounds

_BOOKKEEPING = 400
"""See `core.log`: the bound in all is the same wherever messages are kept."""


def cost_of(size: int) -> int:
    """Return what a message of that size counts towards the total bytes."""
    return size + _BOOKKEEPING


class Entry(NamedTuple):
    """What a record knows of one message."""

    seq: int
    bytes: int
    cost: int
    time: float


class ChannelRecord:
    """What is known of one channel; the columns of its row, in their order, and what can be read again."""

    __slots__ = (
        "bytes",
        "cost",
        "deleted",
        "ended",
        "floor",
        "has_all_entries",
        "id",
        "last",
        "last_time",
        "lost",
        "lost_reason",
        "lost_time",
        "messages",
        "name",
        "oldest",
        "place",
        "stale",
        "used",
    )

    def __init__(
        self,
        id: int,
        name: str,
        messages: int = 0,
        bytes: int = 0,
        cost: int = 0,
        last: int = 0,
        last_time: float = 0.0,
        used: int = 0,
        ended: bool = False,
        deleted: bool = False,
        floor: int = 0,
        stale: int = 0,
        lost: int = 0,
        lost_time: float = 0.0,
        lost_reason: str = "",
        place: int = 0,
    ) -> None:
        self.id = id
        self.name = name
        self.messages = messages
        self.bytes = bytes
        """Of the data of its messages."""
        self.cost = cost
        """What its messages count of the bytes in all."""
        self.last = last
        """The sequence of its newest message, kept or not; 0 before the first."""
        self.last_time = last_time
        self.used = used
        """The sequence that was given out when it was last published to."""
        self.ended = ended
        self.deleted = deleted
        """Whether it was deleted on request; kept to answer older cursors correctly."""
        self.floor = floor
        """What is not above this sequence is gone."""
        self.stale = stale
        """How many rows are left below the floor."""
        self.lost = lost
        """The sequence of the newest message that was lost; 0 for none."""
        self.lost_time = lost_time
        self.lost_reason = lost_reason
        self.place = place
        """Its place among the others of its kind: the least recently used has the lowest."""
        self.oldest: deque[Entry] = deque()
        """Its oldest messages, or some of them."""
        self.has_all_entries = not messages

    def record_loss(self, seq: int, time: float, reason: str) -> None:
        """Remember a loss, if it is the newest."""
        if seq > self.lost:
            self.lost, self.lost_time, self.lost_reason = seq, time, reason

    def exceeds(self, bounds: Bounds) -> bool:
        """Return whether the oldest message has to be evicted."""
        return self.messages > bounds.messages or self.bytes > bounds.bytes

    def clear_oldest(self) -> None:
        """Drop the entries of single messages."""
        self.oldest.clear()
        self.has_all_entries = not self.messages

    def entry(self, seq: int, time: float, data: int, names: int) -> Entry:
        """Make an entry of what a row says. `data`, `names`: the length of its data, and of its type and event."""
        return Entry(seq, data, cost_of(data + names + len(self.name)), time)
