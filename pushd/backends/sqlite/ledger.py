"""The ledger: what is known of each channel, and the rules by which it keeps and loses messages.

The rules are those of `core.log`. But where the log in memory holds the messages themselves, a record holds sums of
them, and of its oldest ones, which have to go first, the few that come next. A channel loses from its old end by a
higher *floor*: what is not above it is gone at once, however much it is, and its rows, *stale* now, are deleted in
good time.

The ledger is what will be true when the next transaction is committed. Where that fails it is thrown away.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pushd.backends.sqlite.channel_record import ChannelRecord, Entry, cost_of
from pushd.core.errors import TooManyChannels
from pushd.core.history import Bounds
from pushd.core.message import Draft, Message

_OLDEST_ENTRIES = 64
"""Of how many of its oldest messages a record knows more than the sum."""
_MAX_EVICTIONS = 4096
"""Messages evicted for one that is added. Only lowered bounds leave more to evict: `evict_excess` does that."""
_SWEEPABLE_ROWS = 64
"""Rows of a channel that are deleted together where there is other work: they stand together, and new ones do not."""


class NewMessage(NamedTuple):
    """A message that has no row yet."""

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
        records: Iterable[ChannelRecord],
        oldest_of: Callable[[ChannelRecord, int], list[Entry]],
    ) -> None:
        """
        :param head: the newest sequence.
        :param unknown: no channel of which nothing is known any more had anything newer.
        :param records: the least recently used first.
        :param oldest_of: returns the oldest messages of a record, at most the given number, `added` ones too.
        """
        self.bounds = bounds
        self.epoch = epoch
        self.head = head
        self.unknown = unknown
        self.messages = 0
        self.bytes = 0
        """What all kept messages count."""
        self.newest_loss = unknown
        """Nothing newer was lost anywhere."""
        self.newest_time = 0.0
        """What is written on the newest message."""
        self.turned_back = 0
        """The newest message on which an earlier time is written than on the one before."""
        self.peak = 0.0
        """The latest time that is written on any message before that."""
        self.active: dict[str, ChannelRecord] = {}
        """Those with messages, the least recently used first."""
        self.idle: dict[str, ChannelRecord] = {}
        """Those that have none any more; what they lost is still known."""
        self.deleted: dict[str, ChannelRecord] = {}
        self.by_id: dict[int, ChannelRecord] = {}
        self.added: dict[int, NewMessage] = {}
        """By sequence: what has to be inserted."""
        self.changed: dict[int, ChannelRecord] = {}
        """By number: what has to be updated or inserted."""
        self.dropped: list[ChannelRecord] = []
        """What has to be deleted."""
        self.stale: dict[int, ChannelRecord] = {}
        """By number: those that have rows below their floor."""
        self.sweepable: dict[int, ChannelRecord] = {}
        """Those of them that have many."""
        self.stale_rows = 0
        self._oldest_of = oldest_of
        self._last_id = 0
        self._last_place = 0
        for record in records:
            self._load_record(record)
        self._over_bounds = [record for record in self.active.values() if record.exceeds(bounds)]

    @property
    def channel_count(self) -> int:
        """How many channels are known."""
        return len(self.active) + len(self.idle)

    # Publish

    def accept(self, draft: Draft, time: float, now: float) -> Message:
        """Accept a message. What is too old must be gone already.

        :param time: unix seconds, rounded to milliseconds.
        :param now: by the log's own time.

        :raises TooManyChannels: it is the first of its channel, and no other channel can be forgotten for it.
        """
        record = self._claim_record(draft.channel)
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
            self.added[seq] = NewMessage(message, record.id, prev, now, deadline)
            self._add_message(record, message)
        self._mark_used(record)
        self._evict_least_recent(_MAX_EVICTIONS)
        return message

    # Remove

    def delete(self, name: str) -> bool:
        """Delete a channel with all its messages; return whether it was known."""
        record = self.active.pop(name, None) or self.idle.pop(name, None)
        if record is None:
            return False
        if record.messages:
            self._record_loss(record, record.last, record.last_time, "evicted")
            self._add_stale(record, record.messages)
            self._subtract(record, record.messages, record.bytes, record.cost)
        record.floor = max(record.floor, record.last)
        record.deleted = True
        record.clear_oldest()
        self.deleted[name] = record
        self._touch(record)
        if len(self.deleted) > self.bounds.channels:
            self._drop(self.deleted.pop(next(iter(self.deleted))))
        return True

    def remove_message(self, record: ChannelRecord, entry: Entry, reason: str) -> None:
        """Remove any message, whose row the caller deletes."""
        if entry.seq <= record.floor:
            self.on_rows_deleted(record, 1)
            return
        self._subtract(record, 1, entry.bytes, entry.cost)
        self._record_loss(record, entry.seq, entry.time, reason)
        record.clear_oldest()
        self.changed[record.id] = record
        self._move_if_emptied(record)

    def evict_excess(self, count: int) -> None:
        """Evict at most `count` messages beyond the bounds, which are narrower than they were."""
        while count > 0 and self._over_bounds:
            record = self._over_bounds[-1]
            while count > 0 and record.exceeds(self.bounds):
                self._evict_oldest(record)
                count -= 1
            if not record.exceeds(self.bounds):
                self._over_bounds.pop()
            self.changed[record.id] = record
            self._move_if_emptied(record)
        self._evict_least_recent(count)

    @property
    def exceeds_bounds(self) -> bool:
        """Whether there is something to trim."""
        return bool(self._over_bounds) or self.bytes > self.bounds.total_bytes

    def on_rows_deleted(self, record: ChannelRecord, count: int) -> None:
        """Called when `count` rows below the floor were deleted."""
        self._add_stale(record, -count)
        self.changed[record.id] = record

    # Find and place

    def _load_record(self, record: ChannelRecord) -> None:
        group = self.deleted if record.deleted else self.active if record.messages else self.idle
        group[record.name] = record
        self.by_id[record.id] = record
        self.messages += record.messages
        self.bytes += record.cost
        self.newest_loss = max(self.newest_loss, record.lost)
        self._last_id = max(self._last_id, record.id)
        self._last_place = max(self._last_place, record.place)
        stale, record.stale = record.stale, 0
        self._add_stale(record, stale)

    def _claim_record(self, name: str) -> ChannelRecord:
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
            record = self.by_id[self._last_id] = ChannelRecord(self._last_id, name)
        record.last, record.last_time, record.deleted = 0, 0.0, False
        if record.lost <= self.unknown:
            record.lost, record.lost_time, record.lost_reason = self.unknown, 0.0, "unknown"
        return record

    def _drop(self, record: ChannelRecord) -> None:
        """Drop the record of a channel."""
        self.unknown = max(self.unknown, record.lost)
        del self.by_id[record.id]
        self.changed.pop(record.id, None)
        self.dropped.append(record)
        self._add_stale(record, -record.stale)

    def _mark_used(self, record: ChannelRecord) -> None:
        """Put a record at the recently used end of its kind."""
        group = self.active if record.messages else self.idle
        group[record.name] = record
        self._touch(record)

    def _touch(self, record: ChannelRecord) -> None:
        self._last_place += 1
        record.place = self._last_place
        self.changed[record.id] = record

    # Keep and lose

    def _add_message(self, record: ChannelRecord, message: Message) -> None:
        size, cost = len(message.data), cost_of(message.size)
        record.messages += 1
        record.bytes += size
        record.cost += cost
        record.last, record.last_time = message.seq, message.time
        self.messages += 1
        self.bytes += cost
        if record.has_all_entries:
            record.oldest.append(Entry(message.seq, size, cost, message.time))
            if len(record.oldest) > _OLDEST_ENTRIES:
                record.oldest.pop()
                record.has_all_entries = False
        for _ in range(_MAX_EVICTIONS):
            if not record.exceeds(self.bounds):
                break
            self._evict_oldest(record)

    def _evict_least_recent(self, count: int) -> None:
        """Take at most `count` messages from the least recently used channels, until all is within its bound."""
        while count > 0 and self.bytes > self.bounds.total_bytes:
            record = next(iter(self.active.values()))
            self._evict_oldest(record)
            self.changed[record.id] = record
            self._move_if_emptied(record)
            count -= 1

    def _evict_oldest(self, record: ChannelRecord) -> None:
        if not record.oldest:
            record.oldest = deque(self._oldest_of(record, _OLDEST_ENTRIES))
            record.has_all_entries = len(record.oldest) == record.messages
        oldest = record.oldest.popleft()
        record.floor = oldest.seq
        if self.added.pop(oldest.seq, None) is None:
            self._add_stale(record, 1)
        self._subtract(record, 1, oldest.bytes, oldest.cost)
        self._record_loss(record, oldest.seq, oldest.time, "evicted")

    def _move_if_emptied(self, record: ChannelRecord) -> None:
        if not record.messages and record.name in self.active:
            del self.active[record.name]
            self._mark_used(record)

    def _record_loss(self, record: ChannelRecord, seq: int, time: float, reason: str) -> None:
        record.record_loss(seq, time, reason)
        self.newest_loss = max(self.newest_loss, seq)

    def _subtract(self, record: ChannelRecord, count: int, size: int, cost: int) -> None:
        record.messages -= count
        record.bytes -= size
        record.cost -= cost
        self.messages -= count
        self.bytes -= cost

    def _add_stale(self, record: ChannelRecord, count: int) -> None:
        if not count:
            return
        record.stale += count
        self.stale_rows += count
        for group, least in ((self.stale, 1), (self.sweepable, _SWEEPABLE_ROWS)):
            if record.stale >= least:
                group[record.id] = record
            elif record.id in group:
                del group[record.id]
