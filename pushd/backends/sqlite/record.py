"""The record of a channel, with or without messages."""

from collections import deque
from typing import NamedTuple

from pushd.core.history import Bounds

_BOOKKEEPING = 400
"""See `core.log`: the total bound is the same for all backends."""


def cost_of(size: int) -> int:
    """Return the bytes that a message of this size counts in the total."""
    return size + _BOOKKEEPING


class Entry(NamedTuple):
    """The entry of one message in a record."""

    seq: int
    bytes: int
    cost: int
    time: float


class Record:
    """The columns of the row of a channel, in their order, and a cache of its oldest messages."""

    __slots__ = (
        "bytes",
        "cost",
        "deleted",
        "ended",
        "floor",
        "front",
        "id",
        "is_front_whole",
        "last",
        "last_time",
        "lost",
        "lost_reason",
        "lost_time",
        "messages",
        "name",
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
        """Bytes of data of its messages."""
        self.cost = cost
        """Bytes that its messages count in the total."""
        self.last = last
        """The sequence of its newest message, kept or not; 0 before the first."""
        self.last_time = last_time
        self.used = used
        """The sequence of the log when the channel was last published to."""
        self.ended = ended
        self.deleted = deleted
        """Whether it was deleted on request; kept to answer older cursors correctly."""
        self.floor = floor
        """Messages up to this sequence are gone."""
        self.stale = stale
        """Number of rows below the floor."""
        self.lost = lost
        """The sequence of the newest message that was lost; 0 for none."""
        self.lost_time = lost_time
        self.lost_reason = lost_reason
        self.place = place
        """Its place in the order of use: the least recently used record has the lowest."""
        self.front: deque[Entry] = deque()
        """Its oldest messages, or some of them."""
        self.is_front_whole = not messages

    def lose(self, seq: int, time: float, reason: str) -> None:
        """Record a loss, if it is the newest."""
        if seq > self.lost:
            self.lost, self.lost_time, self.lost_reason = seq, time, reason

    def exceeds(self, bounds: Bounds) -> bool:
        """Return whether the oldest message has to be evicted."""
        return self.messages > bounds.messages or self.bytes > bounds.bytes

    def forget_front(self) -> None:
        """Drop the entries of single messages."""
        self.front.clear()
        self.is_front_whole = not self.messages

    def entry(self, seq: int, time: float, data: int, names: int) -> Entry:
        """Return the entry of a row. `data` and `names` are the lengths of its data, and of its types."""
        return Entry(seq, data, cost_of(data + names + len(self.name)), time)
