"""The record of one channel, whether or not it has messages."""

import math
from typing import Final, NamedTuple

from pushd.core.history import Bounds, Retention

RECORD_BYTES: Final = 600
"""Bytes of memory of a record, without its entries."""
ENTRY_BYTES: Final = 160
"""Bytes of memory of an entry."""
_OVERHEAD = 400
"""As in `core.log`, so that `Bounds.total_bytes` has the same effect in both backends."""


_DEFAULT: Final = Retention(Bounds().messages, Bounds().bytes)


def cost_of(size: int) -> int:
    """Return what a message of `size` bytes counts towards `Bounds.total_bytes`."""
    return size + _OVERHEAD


class Entry(NamedTuple):
    """What a record holds of one message."""

    seq: int
    bytes: int
    """Bytes of its data."""
    cost: int
    """See `cost_of`."""
    time: float
    """Its timestamp, in unix seconds."""


class ChannelRecord:
    """The state of one channel: the columns of its row, in their order, and entries that can be read again."""

    __slots__ = (
        "bytes",
        "cost",
        "deleted",
        "due",
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
        "retention",
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
        deleted: int = 0,
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
        """Bytes of the data of its messages."""
        self.cost = cost
        """What its messages count towards `Bounds.total_bytes`."""
        self.last = last
        """The sequence of its newest message, kept or not; 0 for none."""
        self.last_time = last_time
        self.used = used
        """The sequence of the last publish to it; that of an end mark counts, too."""
        self.ended = ended
        self.deleted = deleted
        """The sequence of its deletion on request, kept to answer older cursors correctly; 0 if it was not deleted."""
        self.floor = floor
        """Messages up to this sequence are gone."""
        self.stale = stale
        """The number of rows that are left at or below the floor."""
        self.lost = lost
        """The sequence of the newest message that was lost; 0 for none."""
        self.lost_time = lost_time
        self.lost_reason = lost_reason
        self.place = place
        """Its rank in the order of use: the least recently used record has the lowest."""
        self.retention = _DEFAULT
        """Set by the ledger."""
        self.due = math.inf
        """See `core.aging`."""
        self.oldest: list[Entry] = []
        """Entries of its oldest messages, or none when they have to be read from the file. They are too few to need a
        deque, which takes 760 bytes even if empty."""
        self.has_all_entries = not messages
        """Whether `oldest` has an entry of each of its messages."""

    def record_loss(self, seq: int, time: float, reason: str) -> None:
        """Record the loss of a message, if no newer one was lost."""
        if seq > self.lost:
            self.lost, self.lost_time, self.lost_reason = seq, time, reason

    def exceeds_retention(self) -> bool:
        """Return whether the oldest message has to be evicted."""
        retention = self.retention
        return self.messages > retention.messages or self.bytes > retention.bytes

    def clear_oldest(self) -> None:
        """Discard the entries of messages; they are read again when they are needed."""
        self.oldest.clear()
        self.has_all_entries = not self.messages

    def entry(self, seq: int, time: float, data: int, names: int) -> Entry:
        """Return the entry of a row.

        :param data: bytes of its data.
        :param names: bytes of its content type, event type and sender.
        """
        return Entry(seq, data, cost_of(data + names + len(self.name)), time)
