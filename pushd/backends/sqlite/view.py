"""A view: the log as it is at one moment, in one read transaction.

What is too old counts as gone from the moment it is, whether or not the writer has got to it; so nobody who reads waits
for the writer. All is found by index. A pattern that covers few channels is as good as their names; of one that covers
many, `all_seqs` goes through the log.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.record import Record
from pushd.backends.sqlite.rows import MESSAGE_COLUMNS, RECORD_COLUMNS, message_of_row, record_of_row
from pushd.core.message import Message
from pushd.core.names import Interest, is_pattern

_FEW = 1000
"""Channels that a pattern may cover to count as their names: as many as a subscription may name."""


class Loss(NamedTuple):
    """The newest message that was let go."""

    seq: int
    time: float
    reason: str


class View:
    """The log at one moment. For the thread that has the connection, and while it is in a transaction."""

    def __init__(self, db: sqlite3.Connection, age: float, now: float, head: int) -> None:
        """
        :param age: how long messages are kept.
        :param now: seconds of the log's own time.
        :param head: what is newer has not been told to anybody, and is not there for this view.
        """
        self._db = db
        self._now = now
        self.head = head
        log = self._row("SELECT epoch, unknown, turned_back, peak FROM log")
        self.epoch, self.unknown, self._turned_back, self._peak = log
        self._too_old = self._newest_before("born", now - age, 0)
        """What is not above this sequence is too old."""
        self._is_overdue = bool(self._row("SELECT EXISTS (SELECT 1 FROM message WHERE deadline <= ?)", now)[0])
        """Whether the time to live of some messages is over."""
        self._records: dict[str, tuple[Record, ...] | None] = {}
        """By topic."""

    # Channels

    def look_up(self, topics: Sequence[str]) -> None:
        """Read the records of all these channels at once."""
        names = [topic for topic in topics if topic not in self._records and not is_pattern(topic)]
        self._records.update((name, ()) for name in names)
        if names:
            for record in self._read_records("name IN (SELECT value FROM json_each(?))", json.dumps(names)):
                self._records[record.name] = (record,)

    def records(self, topic: str) -> tuple[Record, ...] | None:
        """Give the records of the channels that a topic covers, deleted ones too; None where they are many."""
        if topic not in self._records:
            if is_pattern(topic):
                self._records[topic] = self._covered_by(topic)
            else:
                self.look_up((topic,))
        return self._records[topic]

    def all_records(self, topic: str) -> Iterable[Record]:
        """Give the records of the channels that a topic covers, be they many."""
        records = self.records(topic)
        if records is not None:
            return records
        covers = Interest((topic,)).covers
        return (record for record in self._read_records("1") if covers(record.name))

    def record(self, name: str) -> Record | None:
        """Give the record of a channel, be it deleted."""
        return next(iter(self.records(name) or ()), None)

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Give at most `limit` names of channels that begin with `prefix` and sort behind `after`, sorted."""
        rows = self._db.execute(
            "SELECT name FROM channel WHERE name >= ? AND name > ? AND NOT deleted ORDER BY name LIMIT ?",
            (prefix, after, limit),
        )
        names = []
        for (name,) in rows:
            if not name.startswith(prefix):
                break
            names.append(name)
        return names

    # Losses

    def loss_of(self, record: Record) -> Loss:
        """Give the newest loss of a channel; sequence 0 for none."""
        loss = Loss(record.lost, record.lost_time, record.lost_reason)
        floor = max(record.floor, record.lost)
        query = "SELECT seq, time, 'expired' FROM message WHERE channel = ? AND seq > ? AND seq <= ?"
        if self._too_old > floor:
            row = self._row(f"{query} ORDER BY seq DESC LIMIT 1", record.id, floor, self._too_old)
            loss = Loss(*row) if row else loss
        if self._is_overdue:
            row = self._row(
                f"{query} AND deadline <= ? ORDER BY seq DESC LIMIT 1", record.id, floor, self.head, self._now
            )
            loss = max(loss, Loss(*row)) if row else loss
        return loss

    def latest_loss(self, topic: str, after: int) -> Loss | None:
        """Give the newest loss of all channels that a topic covers, if it is newer than `after`."""
        records = self.records(topic)
        losses: Iterable[Loss] = map(self.loss_of, records) if records is not None else self._losses_in(topic, after)
        return max((loss for loss in losses if loss.seq > after), default=None)

    def _losses_in(self, topic: str, after: int) -> Iterator[Loss]:
        """Find the newest loss of each kind."""
        covers = Interest((topic,)).covers
        named = "SELECT name, seq, message.time, 'expired' FROM message JOIN channel ON channel.id = message.channel"
        queries: list[tuple[str, tuple[float, ...]]] = [
            ("SELECT name, lost, lost_time, lost_reason FROM channel WHERE lost > ? ORDER BY lost DESC", (after,))
        ]
        if self._too_old > after:
            unswept = f"{named} WHERE seq > ? AND seq <= ? AND seq > floor ORDER BY seq DESC"
            queries.append((unswept, (after, self._too_old)))
        if self._is_overdue:
            queries.append((f"{named} WHERE deadline <= ? AND seq > ? AND seq > floor", (self._now, after)))
        for query, values in queries:
            found = (Loss(*rest) for name, *rest in self._db.execute(query, values) if covers(name))
            if "ORDER BY" in query:
                yield from next(([loss] for loss in found), ())
            else:
                yield from found

    # Messages

    def seqs(self, record: Record, after: int, *, backward: bool = False) -> Iterator[int]:
        """Go through the messages of a channel that are newer than `after`."""
        floor = max(after, record.floor, self._too_old)
        if record.last > floor:
            query = f"SELECT seq FROM message WHERE channel = ? AND seq > ? AND seq <= ? {self._alive}"
            order = "ORDER BY seq DESC" if backward else "ORDER BY seq"
            yield from (seq for (seq,) in self._db.execute(f"{query} {order}", (record.id, floor, self.head)))

    def all_seqs(self, after: int, *, backward: bool = False) -> Iterator[tuple[int, str]]:
        """Go through the messages of all channels that are newer than `after`; give their channels, too."""
        # CROSS JOIN: in the order of the messages, not of the channels.
        query = "SELECT seq, name FROM message CROSS JOIN channel ON channel.id = message.channel"
        query += f" WHERE seq > ? AND seq <= ? AND seq > floor {self._alive}"
        order = "ORDER BY seq DESC" if backward else "ORDER BY seq"
        return self._db.execute(f"{query} {order}", (max(after, self._too_old), self.head))

    def sums(self, record: Record) -> tuple[int, int]:
        """Give the number of messages of a channel, and the bytes of their data."""
        if self._too_old <= record.floor and not self._is_overdue:
            return record.messages, record.bytes
        count, size = self._row(
            "SELECT count(*), total(length(data)) FROM message WHERE channel = ? AND seq > ? AND seq <= ? "
            + self._alive,
            record.id,
            max(record.floor, self._too_old),
            self.head,
        )
        return count, int(size)

    def message(self, seq: int, name: str) -> Message | None:
        """Give a message of a channel; None where it is damaged."""
        try:
            row = self._row(f"SELECT {MESSAGE_COLUMNS} FROM message WHERE seq = ?", seq)
        except sqlite3.OperationalError as error:
            # Text that is no UTF-8 any more; what SQLite itself reports has a code.
            if getattr(error, "sqlite_errorcode", None) is not None:
                raise
            return None
        return message_of_row(row, self.epoch, name) if len(row) == 12 else None

    # Times

    def before_time(self, unix: float) -> int | None:
        """Give the sequence up to which the times of all messages are before `unix`, and after which they are not.

        None where there is none such, since the wall clock was set back from beyond that time.
        """
        if self._turned_back and unix <= self._peak:
            return None
        return self._newest_before("time", unix, max(0, self._turned_back - 1))

    def newest_before(self, record: Record, unix: float) -> int:
        """Give the newest message of a channel with a time before `unix`, whatever was done to the clock."""
        row = self._row(
            "SELECT seq FROM message WHERE channel = ? AND seq > ? AND time < ? ORDER BY seq DESC LIMIT 1",
            record.id,
            record.floor,
            unix,
        )
        return int(row[0]) if row else 0

    def _newest_before(self, column: str, value: float, low: int) -> int:
        """Search the sequence up to which `column` is less than `value`. From `low` on it must only grow."""
        first = self._row(f"SELECT {column} FROM message WHERE seq > ? ORDER BY seq LIMIT 1", low)
        if not first or first[0] >= value:
            return low
        high = self.head
        while low < high:
            middle = (low + high + 1) // 2
            row = self._row(
                f"SELECT seq, {column} FROM message WHERE seq > ? AND seq <= ? ORDER BY seq DESC LIMIT 1", low, middle
            )
            if row and row[1] >= value:
                high = row[0] - 1
            else:
                low = middle
        return low

    # Rows

    @property
    def _alive(self) -> str:
        return f"AND (deadline IS NULL OR deadline > {self._now!r})" if self._is_overdue else ""

    def _covered_by(self, pattern: str) -> tuple[Record, ...] | None:
        prefix = pattern[: pattern.index("*")]
        bounds, values = ("1", ()) if not prefix else ("name >= ? AND name < ?", (prefix, f"{prefix[:-1]}0"))
        (count,) = self._row(f"SELECT count(*) FROM (SELECT 1 FROM channel WHERE {bounds} LIMIT {_FEW + 1})", *values)
        if count > _FEW:
            return None
        covers = Interest((pattern,)).covers
        return tuple(record for record in self._read_records(bounds, *values) if covers(record.name))

    def _read_records(self, condition: str, *values: str) -> Iterator[Record]:
        for row in self._db.execute(f"SELECT {RECORD_COLUMNS} FROM channel WHERE {condition}", values):
            record = record_of_row(row)
            if record is None:
                raise Damaged("holds a channel that is not as it was written")
            yield record

    def _row(self, query: str, *values: float | str) -> tuple[Any, ...]:
        """Give the first row; an empty one where there is none."""
        return self._db.execute(query, values).fetchone() or ()
