"""A view: the log at one moment, in one read transaction.

What is too old counts as gone from the moment it is, whether or not the writer has got to it; so reads do not wait
for the writer. All is found by index. A pattern that covers few channels is as good as their names; of one that covers
many, `all_seqs` goes through the log.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.record import Record
from pushd.backends.sqlite.rows import MESSAGE_COLUMNS, RECORD_COLUMNS, message_of_row, record_of_row
from pushd.core.message import Message
from pushd.core.names import Interest, is_pattern
from pushd.core.patterns import UnmatchedPatterns

_FEW = 1000
"""The most channels that the patterns of a query are resolved to: as many as the topics of a subscription."""
_CHUNK = 256
"""Rows between two calls of `spend`: about half a millisecond."""
_BEYOND = 1 << 62
"""Greater than any sequence."""
_UNSWEPT = 2000
"""Number of expired messages up to which rows are visited; beyond that each channel is queried for its newest."""


class ChannelLoss(NamedTuple):
    """The newest message that a channel has lost."""

    seq: int
    time: float
    reason: str


class View:
    """The log at one moment: only for the thread with the connection, during a transaction."""

    def __init__(
        self,
        db: sqlite3.Connection,
        age: float,
        now: float,
        head: int,
        spend: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """
        :param age: how long messages are kept.
        :param now: seconds of the log's own time.
        :param head: what is newer was not delivered yet, and is hidden from this view.
        :param spend: called with the number of rows that were looked at, every few hundred of them. What it raises ends
            the request.
        """
        self._db = db
        self._spend = spend
        self._now = now
        self.head = head
        log = self._row("SELECT epoch, unknown, turned_back, peak FROM log")
        self.epoch, self.unknown, self._turned_back, self._peak = log
        self._too_old = self._newest_before("born", now - age, 0)
        """Messages up to this sequence are expired."""
        self._is_overdue = bool(self._row("SELECT EXISTS (SELECT 1 FROM message WHERE deadline <= ?)", now)[0])
        """Whether the TTL of some messages is over."""
        self._records: dict[str, Record | None] = {}
        """Records by channel."""
        self._covered: dict[tuple[str, ...], list[Record] | None] = {}
        """The records that patterns match together; None if there are many."""
        self._losses: dict[tuple[str, ...], tuple[int, dict[str, ChannelLoss]]] = {}
        """The newest losses by topics and sequence."""

    # Channels

    def look_up(self, topics: Sequence[str]) -> None:
        """Read the records of channels in one query."""
        names = [topic for topic in topics if topic not in self._records and not is_pattern(topic)]
        self._records.update(dict.fromkeys(names))
        if names:
            for record in self._read_records("name IN (SELECT value FROM json_each(?))", json.dumps(names)):
                self._records[record.name] = record

    def records(self, topics: Sequence[str]) -> list[Record] | None:
        """Return the records of the channels that topics cover, each once, deleted ones too; None if they are many."""
        patterns = tuple(filter(is_pattern, topics))
        if patterns not in self._covered:
            self._covered[patterns] = self._few_covered_by(patterns)
        covered = self._covered[patterns]
        if covered is None:
            return None
        self.look_up(topics)
        found = {record.id: record for topic in topics if (record := self._records.get(topic)) is not None}
        found.update((record.id, record) for record in covered)
        return list(found.values())

    def all_records(self, topics: Sequence[str]) -> Iterable[Record]:
        """Return the records of the channels that topics cover, however many they are."""
        records = self.records(topics)
        if records is not None:
            return records
        covers = Interest(topics).covers
        return (record for record in self._counted(self._read_records("1")) if covers(record.name))

    def record(self, name: str) -> Record | None:
        """Return the record of a channel, also if it was deleted."""
        self.look_up((name,))
        return self._records[name]

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return at most `limit` names of channels that begin with `prefix` and sort after `after`, sorted."""
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

    def loss_of(self, record: Record) -> ChannelLoss:
        """Return the newest loss of a channel; sequence 0 for none."""
        loss = ChannelLoss(record.lost, record.lost_time, record.lost_reason)
        floor = max(record.floor, record.lost)
        query = "SELECT seq, time, 'expired' FROM message WHERE channel = ? AND seq > ? AND seq <= ?"
        if self._too_old > floor:
            row = self._row(f"{query} ORDER BY seq DESC LIMIT 1", record.id, floor, self._too_old)
            loss = ChannelLoss(*row) if row else loss
        if self._is_overdue:
            row = self._row(
                f"{query} AND deadline <= ? ORDER BY seq DESC LIMIT 1", record.id, floor, self.head, self._now
            )
            loss = max(loss, ChannelLoss(*row)) if row else loss
        return loss

    def newest_losses(self, topics: Sequence[str], after: int) -> dict[str, ChannelLoss]:
        """Return the newest loss of each topic whose channels lost messages newer than `after`.

        However many patterns there are, the channels are walked once.
        """
        key = tuple(topics)
        known_after, losses = self._losses.get(key, (after, None))
        if losses is None or after < known_after:
            losses = self._find_losses(topics, after)
            self._losses[key] = after, losses
        return {topic: loss for topic, loss in losses.items() if loss.seq > after}

    def _find_losses(self, topics: Sequence[str], after: int) -> dict[str, ChannelLoss]:
        self.look_up(topics)
        names = [topic for topic in topics if self._records.get(topic)]
        losses = {name: loss for name in names if (loss := self.loss_of(self._records[name])).seq > after}  # type: ignore[arg-type]
        patterns = list(filter(is_pattern, topics))
        if not patterns:
            return losses
        records = self.records(patterns)
        if records is not None:
            newest_first = sorted(((self.loss_of(record), record.name) for record in records), reverse=True)
            unmatched = UnmatchedPatterns(patterns)
            for loss, name in newest_first:
                if loss.seq > after:
                    losses.update(dict.fromkeys(unmatched.take(name), loss))
            return losses
        for walk in (self._noted_losses(after), self._too_old_losses(after), self._overdue_losses(after)):
            unmatched = UnmatchedPatterns(patterns)
            for name, read_loss in walk:
                taken = unmatched.take(name)
                if taken:
                    loss = read_loss()
                    losses.update((pattern, max(loss, losses.get(pattern, loss))) for pattern in taken)
                    if unmatched.is_empty:
                        break
        return losses

    def _noted_losses(self, after: int) -> Iterator[tuple[str, Callable[[], ChannelLoss]]]:
        """Iterate over the channels with losses newer than `after`, the newest loss first."""
        # One row for a whole chunk, which SQLite makes without the interpreter's lock.
        query = (
            "SELECT group_concat(name, char(10)), min(lost) FROM "
            f"(SELECT name, lost FROM channel WHERE lost > ? AND lost < ? ORDER BY lost DESC LIMIT {_CHUNK})"
        )
        below = _BEYOND
        while True:
            joined, below = self._row(query, after, below)
            if joined is None:
                return
            names = joined.split("\n")
            self._spend(len(names))
            for name in names:
                yield (
                    name,
                    lambda name=name: ChannelLoss(  # type: ignore[misc]
                        *self._row("SELECT lost, lost_time, lost_reason FROM channel WHERE name = ?", name)
                    ),
                )

    def _too_old_losses(self, after: int) -> Iterator[tuple[str, Callable[[], ChannelLoss]]]:
        """Iterate over the channels of expired messages that still have rows, the newest message first."""
        if self._too_old <= after:
            return
        rows = self._db.execute(
            "SELECT name, seq FROM message CROSS JOIN channel ON channel.id = message.channel"
            f" WHERE seq > ? AND seq <= ? AND seq > floor ORDER BY seq DESC LIMIT {_UNSWEPT}",
            (after, self._too_old),
        )
        count = 0
        for name, seq in self._counted(rows):
            count += 1
            yield name, lambda seq=seq: self._expired(seq)  # type: ignore[misc]
        if count < _UNSWEPT:
            return
        newest = "(SELECT max(seq) FROM message WHERE channel = channel.id AND seq > floor AND seq <= ?)"
        query = f"SELECT name, {newest} AS newest FROM channel WHERE newest > ? ORDER BY newest DESC"
        for name, seq in self._counted(self._db.execute(query, (self._too_old, after))):
            yield name, lambda seq=seq: self._expired(seq)  # type: ignore[misc]

    def _overdue_losses(self, after: int) -> Iterator[tuple[str, Callable[[], ChannelLoss]]]:
        """Iterate over the channels of messages whose TTL is over and that still have rows, the newest first."""
        if not self._is_overdue:
            return
        query = (
            "SELECT name, max(seq) AS newest FROM message JOIN channel ON channel.id = message.channel"
            " WHERE deadline <= ? AND seq > ? AND seq <= ? AND seq > floor GROUP BY channel.id ORDER BY newest DESC"
        )
        for name, seq in self._counted(self._db.execute(query, (self._now, after, self.head))):
            yield name, lambda seq=seq: self._expired(seq)  # type: ignore[misc]

    def _expired(self, seq: int) -> ChannelLoss:
        return ChannelLoss(*self._row("SELECT seq, time, 'expired' FROM message WHERE seq = ?", seq))

    # Messages

    def seqs(self, record: Record, after: int, *, backward: bool = False) -> Iterator[int]:
        """Iterate over the sequences of a channel after `after`."""
        floor = max(after, record.floor, self._too_old)
        if record.last > floor:
            query = f"SELECT seq FROM message WHERE channel = ? AND seq > ? AND seq <= ? {self._alive}"
            order = "ORDER BY seq DESC" if backward else "ORDER BY seq"
            yield from (seq for (seq,) in self._db.execute(f"{query} {order}", (record.id, floor, self.head)))

    def all_seqs(self, after: int, *, backward: bool = False) -> Iterator[tuple[int, str]]:
        """Iterate over the sequences of all channels after `after`, with their channels."""
        # CROSS JOIN: in the order of the messages, not of the channels.
        query = "SELECT seq, name FROM message CROSS JOIN channel ON channel.id = message.channel"
        query += f" WHERE seq > ? AND seq <= ? AND seq > floor {self._alive}"
        order = "ORDER BY seq DESC" if backward else "ORDER BY seq"
        return self._counted(self._db.execute(f"{query} {order}", (max(after, self._too_old), self.head)))

    def sums(self, record: Record) -> tuple[int, int]:
        """Return the number of messages of a channel, and the bytes of their data."""
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
        """Return a message of a channel; None if it is damaged."""
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
        """Return the sequence up to which the times of all messages are before `unix`, and after which they are not.

        None where there is none such, since the wall clock was set back from beyond that time.
        """
        if self._turned_back and unix <= self._peak:
            return None
        return self._newest_before("time", unix, max(0, self._turned_back - 1))

    def newest_before(self, record: Record, unix: float) -> int:
        """Return the newest message of a channel with a time before `unix`, even if the clock was set."""
        row = self._row(
            "SELECT seq FROM message WHERE channel = ? AND seq > ? AND time < ? ORDER BY seq DESC LIMIT 1",
            record.id,
            record.floor,
            unix,
        )
        return int(row[0]) if row else 0

    def _newest_before(self, column: str, value: float, low: int) -> int:
        """Find the sequence up to which `column` is less than `value`. From `low` on the column must increase."""
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

    def _few_covered_by(self, patterns: Sequence[str]) -> list[Record] | None:
        """Return the records of the channels that patterns match, unless there are too many."""
        ranges = _name_ranges(patterns)
        left = _FEW
        for condition, values in ranges:
            query = f"SELECT count(*) FROM (SELECT 1 FROM channel WHERE {condition} LIMIT {left + 1})"
            left -= self._row(query, *values)[0]
            if left < 0:
                return None
        covers = Interest(patterns).covers
        found = (record for condition, values in ranges for record in self._read_records(condition, *values))
        return [record for record in found if covers(record.name)]

    def _counted(self, rows: Iterator[Any]) -> Iterator[Any]:
        """Iterate over rows, and call `spend` every few hundred."""
        for count, row in enumerate(rows, 1):
            if count % _CHUNK == 0:
                self._spend(_CHUNK)
            yield row

    def _read_records(self, condition: str, *values: str) -> Iterator[Record]:
        for row in self._db.execute(f"SELECT {RECORD_COLUMNS} FROM channel WHERE {condition}", values):
            record = record_of_row(row)
            if record is None:
                raise Damaged("the checksum of a channel does not match")
            yield record

    def _row(self, query: str, *values: float | str) -> tuple[Any, ...]:
        """Return the first row; an empty one if there is none."""
        return self._db.execute(query, values).fetchone() or ()


def _name_ranges(patterns: Collection[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return conditions on a name, each with its values, that exclude each other and hold for all names that match."""
    prefixes: list[str] = []
    for prefix in sorted({pattern[: pattern.index("*")] for pattern in patterns}):
        if not prefix:
            return [("1", ())]
        if not prefixes or not prefix.startswith(prefixes[-1]):
            prefixes.append(prefix)
    # A prefix ends with a slash, and a zero sorts next after it.
    return [("name >= ? AND name < ?", (prefix, f"{prefix[:-1]}0")) for prefix in prefixes]
