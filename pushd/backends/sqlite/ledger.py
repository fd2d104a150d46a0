"""The ledger: the state of all channels in memory, and the rules of retention.

The rules are those of `core.log`, but a record holds totals instead of messages, and entries of the few oldest ones,
which are evicted next. A channel evicts by raising its *floor*, a sequence: messages up to the floor are gone at once,
however many they are. Their rows are then *stale* and are deleted later.

The ledger is the state after the next commit. If the commit fails, the ledger is discarded.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pushd.backends.sqlite.channel_record import ENTRY_BYTES, RECORD_BYTES, ChannelRecord, Entry, cost_of
from pushd.backends.sqlite.record_group import RecordGroup
from pushd.core.aging import AgingChannels
from pushd.core.channel_rules import Retentions
from pushd.core.errors import TooManyChannels
from pushd.core.history import DEAD_BOUNDS
from pushd.core.message import Draft, Message
from pushd.core.names import DEAD, PRESENCE

_OLDEST_ENTRIES = 64
"""The most entries of its oldest messages that a record holds."""
_MAX_EVICTIONS = 4096
"""The most messages evicted for one that is added. Only lowered bounds leave more to evict; see `evict_excess`."""
_SWEEPABLE_ROWS = 64
"""The fewest stale rows of a channel that are worth deleting during a commit: together they share pages."""


class NewMessage(NamedTuple):
    """A message that is not inserted yet; see `rows.row_of_message`."""

    message: Message
    channel: int
    """The id of its record."""
    prev: int
    """The sequence of the message before it in its channel; 0 for none."""
    born: float
    """When it was accepted, in seconds of log time."""
    deadline: float | None
    """When its time to live is over, in seconds of log time."""


class Ledger:
    """The records of all channels, and the changes that the next commit writes."""

    def __init__(
        self,
        retentions: Retentions,
        epoch: str,
        head: int,
        unknown: int,
        records: Iterable[ChannelRecord],
        oldest_of: Callable[[ChannelRecord, int], list[Entry]],
    ) -> None:
        """
        :param head: the newest sequence.
        :param unknown: the newest sequence that channels without a record may have lost.
        :param records: the least recently used first.
        :param oldest_of: returns entries of the oldest messages of a record, at most the given number, including those
            in `added`.
        """
        self.bounds = bounds = retentions.bounds
        self.epoch = epoch
        self.head = head
        self.unknown = unknown
        self.messages = 0
        self.newest_loss = unknown
        """The newest sequence that any channel lost."""
        self.newest_time = 0.0
        """The timestamp of the newest message, in unix seconds."""
        self.turned_back = 0
        """The sequence of the newest message whose timestamp is earlier than that of its predecessor; 0 for none."""
        self.peak = 0.0
        """The latest timestamp of all messages before `turned_back`."""
        self._users = RecordGroup(bounds)
        self._events = RecordGroup(bounds.of_events)
        """The channels of presence events."""
        self._dead = RecordGroup(DEAD_BOUNDS)
        """The channels of dead letters of hooks."""
        self._groups = self._users, self._events, self._dead
        self.deleted: dict[str, ChannelRecord] = {}
        """Records of deleted channels by name, the least recently used first."""
        self.by_id: dict[int, ChannelRecord] = {}
        self.added: dict[int, NewMessage] = {}
        """Messages to insert, by sequence."""
        self.changed: dict[int, ChannelRecord] = {}
        """Records to insert or update, by id."""
        self.dropped: list[ChannelRecord] = []
        """Records to delete."""
        self.stale: dict[int, ChannelRecord] = {}
        """Records with rows at or below their floor, by id."""
        self.sweepable: dict[int, ChannelRecord] = {}
        """Those that have at least `_SWEEPABLE_ROWS` of them."""
        self.stale_rows = 0
        self.aging: AgingChannels[int, ChannelRecord] = AgingChannels(self.by_id.get)
        self.aged_through = 0
        """All kept messages up to this sequence are of channels with an age of their own."""
        self._retentions = retentions
        self._outdated: list[ChannelRecord] = []
        """Records whose retention is still to be looked up again."""
        self._entries = 0
        """The entries of all records."""
        self._oldest_of = oldest_of
        self._last_id = 0
        self._last_place = 0
        for record in records:
            self._load_record(record)
        self._over_bounds = [
            record for group in self._groups for record in group.active.values() if record.exceeds_retention()
        ]

    @property
    def channel_count(self) -> int:
        """The number of channels that were not deleted, without those of presence events and dead letters."""
        return len(self._users)

    @property
    def bytes(self) -> int:
        """What all kept messages but presence events and dead letters count towards `Bounds.total_bytes`."""
        return self._users.bytes

    @property
    def memory(self) -> int:
        """The bytes of memory of all records."""
        return RECORD_BYTES * len(self.by_id) + ENTRY_BYTES * self._entries

    # Publish

    def accept(self, draft: Draft, time: float, now: float) -> Message:
        """Accept a message. Expired messages must have been removed.

        :param time: unix seconds, rounded to milliseconds.
        :param now: seconds of log time.
        :raises TooManyChannels: when its channel is new and all channels that are allowed have messages.
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
            draft.sender,
        )
        record.used = seq
        record.ended = draft.end
        if not message.is_mark:
            if message.time < self.newest_time:
                self.turned_back, self.peak = seq, max(self.peak, self.newest_time)
            self.newest_time = message.time
            deadline = None if draft.ttl is None else now + draft.ttl
            if record.retention.age is not None and record.due == math.inf:
                self.aging.schedule(record.id, record, now + record.retention.age)
            self.added[seq] = NewMessage(message, record.id, prev, now, deadline)
            self._add_message(record, message)
        self._mark_used(record)
        self._evict_least_recent(self._group_of(record.name), _MAX_EVICTIONS)
        return message

    # Remove

    def delete(self, name: str) -> int:
        """Delete a channel with all its messages; return the sequence of the deletion, or 0 if it was not known."""
        record = self._group_of(name).take(name)
        if record is None:
            return 0
        if record.messages:
            self._record_loss(record, record.last, record.last_time, "evicted")
            self._add_stale(record, record.messages)
            self._subtract(record, record.messages, record.bytes, record.cost)
        record.floor = max(record.floor, record.last)
        self.head += 1
        record.deleted = self.head
        self._clear_entries(record)
        self.deleted[name] = record
        self._touch(record)
        if len(self.deleted) > self.bounds.channels:
            self._drop(self.deleted.pop(next(iter(self.deleted))))
        return record.deleted

    def remove_message(self, record: ChannelRecord, entry: Entry, reason: str) -> None:
        """Remove one message, not necessarily the oldest. The caller deletes its row."""
        if entry.seq <= record.floor:
            self.on_rows_deleted(record, 1)
            return
        self._subtract(record, 1, entry.bytes, entry.cost)
        self._record_loss(record, entry.seq, entry.time, reason)
        self._clear_entries(record)
        self.changed[record.id] = record
        self._move_if_emptied(record)

    def evict_excess(self, count: int) -> None:
        """Evict at most `count` messages that exceed bounds which were lowered, and apply other rules to channels."""
        count = self._update_retentions(count)
        while count > 0 and self._over_bounds:
            record = self._over_bounds[-1]
            while count > 0 and record.exceeds_retention():
                self._evict_oldest(record)
                count -= 1
            if not record.exceeds_retention():
                self._over_bounds.pop()
            if record.id not in self.by_id:
                continue
            self.changed[record.id] = record
            self._move_if_emptied(record)
        for group in self._groups:
            self._evict_least_recent(group, count)

    @property
    def exceeds_bounds(self) -> bool:
        """Whether `evict_excess` has something to evict."""
        return bool(self._outdated or self._over_bounds) or any(
            group.bytes > group.bounds.total_bytes for group in self._groups
        )

    def on_rows_deleted(self, record: ChannelRecord, count: int) -> None:
        """Called when `count` rows at or below the floor were deleted."""
        self._add_stale(record, -count)
        self.changed[record.id] = record

    # Retention

    def reconfigure(self, retentions: Retentions) -> None:
        """Apply other rules: to new channels at once, and to others with the next calls of `evict_excess`."""
        self._retentions = retentions
        self._outdated = list(self.by_id.values())

    @property
    def is_outdated(self) -> bool:
        """Whether other rules are still to be applied to channels."""
        return bool(self._outdated)

    def _update_retentions(self, count: int) -> int:
        """Look up the retention of at most `count` outdated records; return the rest of the number."""
        while count > 0 and self._outdated:
            count -= 1
            record = self._outdated.pop()
            before, record.retention = record.retention, self._retentions.of(record.name)
            if record.exceeds_retention():
                self._over_bounds.append(record)
            if record.retention.age != before.age:
                self._change_age(record)
        return count

    def _change_age(self, record: ChannelRecord) -> None:
        """Called when the age of a channel is another one than before, or is new."""
        record.due = math.inf
        if record.retention.age is None:
            self.aged_through = 0
        elif record.messages:
            self.aging.schedule(record.id, record, 0.0)

    # Records

    def _group_of(self, name: str) -> RecordGroup:
        if name[0] != "$":
            return self._users
        return self._events if name.startswith(PRESENCE) else self._dead if name.startswith(DEAD) else self._users

    def _load_record(self, record: ChannelRecord) -> None:
        group = self._group_of(record.name)
        records = self.deleted if record.deleted else group.active if record.messages else group.idle
        records[record.name] = record
        self.by_id[record.id] = record
        record.retention = self._retentions.of(record.name)
        self._change_age(record)
        self.messages += record.messages
        group.bytes += record.cost
        self.newest_loss = max(self.newest_loss, record.lost)
        self._last_id = max(self._last_id, record.id)
        self._last_place = max(self._last_place, record.place)
        stale, record.stale = record.stale, 0
        self._add_stale(record, stale)

    def _claim_record(self, name: str) -> ChannelRecord:
        """Remove the record of a channel from its group and return it; make one if there is none."""
        group = self._group_of(name)
        known = group.take(name)
        if known is not None:
            return known
        limit = group.bounds.channels
        if len(group) >= limit:
            if not group.idle:
                raise TooManyChannels(f"too many channels: all of the {limit} that are accepted are in use")
            self._drop(group.idle.pop(next(iter(group.idle))))
        record = self.deleted.pop(name, None)
        if record is None:
            self._last_id += 1
            record = self.by_id[self._last_id] = ChannelRecord(self._last_id, name)
            record.retention = self._retentions.of(name)
        record.last, record.last_time, record.deleted = 0, 0.0, 0
        if record.lost <= self.unknown:
            record.lost, record.lost_time, record.lost_reason = self.unknown, 0.0, "unknown"
        return record

    def _drop(self, record: ChannelRecord) -> None:
        """Drop the record of a channel, and remember the newest loss among dropped ones."""
        self.unknown = max(self.unknown, record.lost)
        del self.by_id[record.id]
        self.changed.pop(record.id, None)
        self.dropped.append(record)
        self._add_stale(record, -record.stale)

    def _mark_used(self, record: ChannelRecord) -> None:
        """Put a record at the most recently used end of its group."""
        group = self._group_of(record.name)
        records = group.active if record.messages else group.idle
        records[record.name] = record
        self._touch(record)

    def _touch(self, record: ChannelRecord) -> None:
        self._last_place += 1
        record.place = self._last_place
        self.changed[record.id] = record

    # Messages

    def _add_message(self, record: ChannelRecord, message: Message) -> None:
        size, cost = len(message.data), cost_of(message.size)
        record.messages += 1
        record.bytes += size
        record.cost += cost
        record.last, record.last_time = message.seq, message.time
        group = self._group_of(record.name)
        self.messages += 1
        group.bytes += cost
        if record.has_all_entries:
            record.has_all_entries = len(record.oldest) < _OLDEST_ENTRIES
            if record.has_all_entries:
                record.oldest.append(Entry(message.seq, size, cost, message.time))
                self._entries += 1
        for _ in range(_MAX_EVICTIONS):
            if not record.exceeds_retention():
                break
            self._evict_oldest(record)

    def _evict_least_recent(self, group: RecordGroup, count: int) -> None:
        """Evict at most `count` messages of the least recently used channels, until the total is within its bound."""
        while count > 0 and group.bytes > group.bounds.total_bytes:
            record = next(iter(group.active.values()))
            self._evict_oldest(record)
            self.changed[record.id] = record
            self._move_if_emptied(record)
            count -= 1

    def _evict_oldest(self, record: ChannelRecord) -> None:
        if not record.oldest:
            record.oldest = self._oldest_of(record, _OLDEST_ENTRIES)
            self._entries += len(record.oldest)
            record.has_all_entries = len(record.oldest) == record.messages
        oldest = record.oldest.pop(0)
        self._entries -= 1
        record.floor = oldest.seq
        if self.added.pop(oldest.seq, None) is None:
            self._add_stale(record, 1)
        self._subtract(record, 1, oldest.bytes, oldest.cost)
        self._record_loss(record, oldest.seq, oldest.time, "evicted")

    def _clear_entries(self, record: ChannelRecord) -> None:
        self._entries -= len(record.oldest)
        record.clear_oldest()

    def _move_if_emptied(self, record: ChannelRecord) -> None:
        group = self._group_of(record.name)
        if not record.messages and record.name in group.active:
            del group.active[record.name]
            self._mark_used(record)

    def _record_loss(self, record: ChannelRecord, seq: int, time: float, reason: str) -> None:
        record.record_loss(seq, time, reason)
        self.newest_loss = max(self.newest_loss, seq)

    def _subtract(self, record: ChannelRecord, count: int, size: int, cost: int) -> None:
        record.messages -= count
        record.bytes -= size
        record.cost -= cost
        self.messages -= count
        self._group_of(record.name).bytes -= cost

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
