"""The ledger: the record of each channel, and the rules of retention.

The rules are those of `core.log`. The log in memory has the messages themselves; a record has their sums, and entries
of its few oldest messages, which are evicted first. A channel evicts from its old end by a higher *floor*: everything
below is gone at once, however much it is. The rows below the floor are *stale*, and are deleted later.

The ledger is the state after the next commit. If that fails, the ledger is discarded.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pushd.backends.sqlite.record import Entry, Record, cost_of
from pushd.core.errors import TooManyChannels
from pushd.core.history import Bounds
from pushd.core.message import Draft, Message

_FRONT = 64
"""Number of oldest messages of which a record has single entries, not only the sum."""
_MOST_AT_ONCE = 4096
"""The most messages evicted for a new one. More exceed the bounds only after these were narrowed; `trim` evicts
them."""
_WORTH_SWEEPING = 64
"""Rows of a channel that are deleted together while there is other work: they are adjacent, and new ones are not."""


class Added(NamedTuple):
    """A message whose row is not inserted yet."""

    message: Message
    channel: int
    prev: int
    born: float
    deadline: float | None


class Ledger:
    """All records."""

    def __init__(
        self,
        bounds: Bounds,
        epoch: str,
        head: int,
        unknown: int,
        records: Iterable[Record],
        oldest_of: Callable[[Record, int], list[Entry]],
    ) -> None:
        """
        :param head: the newest sequence.
        :param unknown: no channel whose record was dropped had a message with a greater sequence.
        :param records: the least recently used first.
        :param oldest_of: returns the oldest messages of a record, at most the given number, `added` ones too.
        """
        self.bounds = bounds
        self.epoch = epoch
        self.head = head
        self.unknown = unknown
        self.messages = 0
        self.bytes = 0
        """The bytes that count of all kept messages."""
        self.newest_loss = unknown
        """No message with a greater sequence was lost."""
        self.newest_time = 0.0
        """The time of the newest message."""
        self.turned_back = 0
        """The sequence of the newest message whose time is earlier than that of the previous one."""
        self.peak = 0.0
        """The latest time of the messages before it."""
        self.active: dict[str, Record] = {}
        """The records of channels with messages, the least recently used first."""
        self.idle: dict[str, Record] = {}
        """The records of channels without messages, which still know their losses."""
        self.deleted: dict[str, Record] = {}
        self.by_id: dict[int, Record] = {}
        self.added: dict[int, Added] = {}
        """The messages to insert, by sequence."""
        self.changed: dict[int, Record] = {}
        """The records to insert or update, by number."""
        self.dropped: list[Record] = []
        """The records to delete."""
        self.stale: dict[int, Record] = {}
        """The records with rows below their floor, by number."""
        self.ripe: dict[int, Record] = {}
        """Those of them with many such rows."""
        self.stale_rows = 0
        self._oldest_of = oldest_of
        self._last_id = 0
        self._last_place = 0
        for record in records:
            self._enter(record)
        self._oversized = [record for record in self.active.values() if record.exceeds(bounds)]

    @property
    def channel_count(self) -> int:
        """Number of known channels."""
        return len(self.active) + len(self.idle)

    # Publish

    def accept(self, draft: Draft, time: float, now: float) -> Message:
        """Accept a message. Expired messages must have been removed before.

        :param time: unix seconds, rounded to milliseconds.
        :param now: by the log's own time.

        :raises TooManyChannels: it is the first of its channel, and no other channel can be forgotten for it.
        """
        record = self._take(draft.channel)
        self.head += 1
        seq, prev = self.head, record.last
        message = Message(
            self.epoch,
            seq,
            f"{self.epoch}-{prev}" if prev else None,
            draft.channel,
            time,
            draft.data,
            draft.content_type,
            draft.encoding,
            draft.event,
            draft.end,
        )
        record.used = seq
        record.ended = draft.end
        if not message.is_mark:
            if message.time < self.newest_time:
                self.turned_back, self.peak = seq, max(self.peak, self.newest_time)
            self.newest_time = message.time
            deadline = None if draft.ttl is None or draft.ttl >= self.bounds.age else now + draft.ttl
            self.added[seq] = Added(message, record.id, prev, now, deadline)
            self._keep(record, message)
        self._place(record)
        self._shrink(_MOST_AT_ONCE)
        return message

    # Remove

    def forget(self, name: str) -> bool:
        """Delete a channel with all its messages; return whether it was known."""
        record = self.active.pop(name, None) or self.idle.pop(name, None)
        if record is None:
            return False
        if record.messages:
            self._lose(record, record.last, record.last_time, "evicted")
            self._add_stale(record, record.messages)
            self._count_out(record, record.messages, record.bytes, record.cost)
        record.floor = max(record.floor, record.last)
        record.deleted = True
        record.forget_front()
        self.deleted[name] = record
        self._touch(record)
        if len(self.deleted) > self.bounds.channels:
            self._drop(self.deleted.pop(next(iter(self.deleted))))
        return True

    def lose(self, record: Record, entry: Entry, reason: str) -> None:
        """Remove a message; the caller deletes its row."""
        if entry.seq <= record.floor:
            self.swept(record, 1)
            return
        self._count_out(record, 1, entry.bytes, entry.cost)
        self._lose(record, entry.seq, entry.time, reason)
        record.forget_front()
        self.changed[record.id] = record
        self._settle(record)

    def trim(self, count: int) -> None:
        """Evict at most `count` messages beyond the bounds, which are narrower than they were."""
        while count > 0 and self._oversized:
            record = self._oversized[-1]
            while count > 0 and record.exceeds(self.bounds):
                self._drop_oldest(record)
                count -= 1
            if not record.exceeds(self.bounds):
                self._oversized.pop()
            self.changed[record.id] = record
            self._settle(record)
        self._shrink(count)

    @property
    def is_oversized(self) -> bool:
        """Whether there is something to trim."""
        return bool(self._oversized) or self.bytes > self.bounds.total_bytes

    def swept(self, record: Record, count: int) -> None:
        """Called when `count` rows below the floor were deleted."""
        self._add_stale(record, -count)
        self.changed[record.id] = record

    # Records

    def _enter(self, record: Record) -> None:
        kind = self.deleted if record.deleted else self.active if record.messages else self.idle
        kind[record.name] = record
        self.by_id[record.id] = record
        self.messages += record.messages
        self.bytes += record.cost
        self.newest_loss = max(self.newest_loss, record.lost)
        self._last_id = max(self._last_id, record.id)
        self._last_place = max(self._last_place, record.place)
        stale, record.stale = record.stale, 0
        self._add_stale(record, stale)

    def _take(self, name: str) -> Record:
        known = self.active.pop(name, None) or self.idle.pop(name, None)
        if known is not None:
            return known
        if self.channel_count >= self.bounds.channels:
            if not self.idle:
                raise TooManyChannels(
                    f"too many channels: all of the {self.bounds.channels} that are accepted are in use"
                )
            self._drop(self.idle.pop(next(iter(self.idle))))
        record = self.deleted.pop(name, None)
        if record is None:
            self._last_id += 1
            record = self.by_id[self._last_id] = Record(self._last_id, name)
        record.last, record.last_time, record.deleted = 0, 0.0, False
        if record.lost <= self.unknown:
            record.lost, record.lost_time, record.lost_reason = self.unknown, 0.0, "unknown"
        return record

    def _drop(self, record: Record) -> None:
        """Drop the record of a channel."""
        self.unknown = max(self.unknown, record.lost)
        del self.by_id[record.id]
        self.changed.pop(record.id, None)
        self.dropped.append(record)
        self._add_stale(record, -record.stale)

    def _place(self, record: Record) -> None:
        """Move a record to the recently used end."""
        kind = self.active if record.messages else self.idle
        kind[record.name] = record
        self._touch(record)

    def _touch(self, record: Record) -> None:
        self._last_place += 1
        record.place = self._last_place
        self.changed[record.id] = record

    # Retention

    def _keep(self, record: Record, message: Message) -> None:
        size, cost = len(message.data), cost_of(message.size)
        record.messages += 1
        record.bytes += size
        record.cost += cost
        record.last, record.last_time = message.seq, message.time
        self.messages += 1
        self.bytes += cost
        if record.is_front_whole:
            record.front.append(Entry(message.seq, size, cost, message.time))
            if len(record.front) > _FRONT:
                record.front.pop()
                record.is_front_whole = False
        for _ in range(_MOST_AT_ONCE):
            if not record.exceeds(self.bounds):
                break
            self._drop_oldest(record)

    def _shrink(self, count: int) -> None:
        """Evict at most `count` messages of the least recently used channels, until the total is within its bound."""
        while count > 0 and self.bytes > self.bounds.total_bytes:
            record = next(iter(self.active.values()))
            self._drop_oldest(record)
            self.changed[record.id] = record
            self._settle(record)
            count -= 1

    def _drop_oldest(self, record: Record) -> None:
        if not record.front:
            record.front = deque(self._oldest_of(record, _FRONT))
            record.is_front_whole = len(record.front) == record.messages
        oldest = record.front.popleft()
        record.floor = oldest.seq
        if self.added.pop(oldest.seq, None) is None:
            self._add_stale(record, 1)
        self._count_out(record, 1, oldest.bytes, oldest.cost)
        self._lose(record, oldest.seq, oldest.time, "evicted")

    def _settle(self, record: Record) -> None:
        if not record.messages and record.name in self.active:
            del self.active[record.name]
            self._place(record)

    def _lose(self, record: Record, seq: int, time: float, reason: str) -> None:
        record.lose(seq, time, reason)
        self.newest_loss = max(self.newest_loss, seq)

    def _count_out(self, record: Record, count: int, size: int, cost: int) -> None:
        record.messages -= count
        record.bytes -= size
        record.cost -= cost
        self.messages -= count
        self.bytes -= cost

    def _add_stale(self, record: Record, count: int) -> None:
        if not count:
            return
        record.stale += count
        self.stale_rows += count
        for kind, least in ((self.stale, 1), (self.ripe, _WORTH_SWEEPING)):
            if record.stale >= least:
                kind[record.id] = record
            elif record.id in kind:
                del kind[record.id]
