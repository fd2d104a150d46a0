"""A view: the log as it is at one moment, in one read transaction.

What is too old counts as gone from the moment it is, whether or not the writer has got to it; so reads do not wait
for the writer. All is found by index. A pattern that covers few channels is as good as their names; of one that covers
many, `all_sequences` goes through the log.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pushd.backends.sqlite.channel_record import ChannelRecord
from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.rows import MESSAGE_COLUMNS, RECORD_COLUMNS, message_of_row, record_of_row
from pushd.core.message import Message
from pushd.core.names import Interest, is_pattern
from pushd.core.patterns import UnmatchedPatterns

_FEW_CHANNELS = 1000
"""Channels that the patterns of a request may cover together to count as their names: as many as a subscription may
name."""
_CHUNK_ROWS = 256
"""Rows between two calls of `on_rows_read`: about half a millisecond of Python."""
_MAX_SEQUENCE = 1 << 62
"""More than any sequence."""
_EXPIRED_ROWS = 2000
"""Expired messages whose rows are looked at one by one; beyond that each channel is asked for its newest."""


class ChannelLoss(NamedTuple):
    """The newest message that was lost."""

    seq: int
    time: float
    reason: str


class LogSnapshot:
    """The log at one moment. For the thread that has the connection, and while it is in a transaction."""

    def __init__(
        self,
        db: sqlite3.Connection,
        age: float,
        now: float,
        head: int,
        on_rows_read: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """
        :param age: how long messages are kept.
        :param now: seconds of the log's own time.
        :param head: what is newer was not delivered yet, and is hidden from this view.
        :param spend: called with the number of rows that were looked at, every few hundred of them. What it raises ends
            the request.
        """
        self._db = db
        self._on_rows_read = on_rows_read
        self._now = now
        self.head = head
        log = self._row("SELECT epoch, unknown, turned_back, peak FROM log")
        self.epoch, self.unknown, self._turned_back, self._peak = log
        self._expired_through = self._newest_before("born", now - age, 0)
        """What is not above this sequence is too old."""
        self._has_expired_ttl = bool(self._row("SELECT EXISTS (SELECT 1 FROM message WHERE deadline <= ?)", now)[0])
        """Whether the time to live of some messages is over."""
        self._records: dict[str, ChannelRecord | None] = {}
        """Of channels by name."""
        self._matching: dict[tuple[str, ...], list[ChannelRecord] | None] = {}
        """Those that some patterns cover together; None where they are many."""
        self._losses: dict[tuple[str, ...], tuple[int, dict[str, ChannelLoss]]] = {}
        """The newest losses of topics that are newer than a sequence."""

    # Channels

    def load_records(self, topics: Sequence[str]) -> None:
        """Read the records of all these channels at once."""
        names = [topic for topic in topics if topic not in self._records and not is_pattern(topic)]
        self._records.update(dict.fromkeys(names))
        if names:
            for record in self._read_records("name IN (SELECT value FROM json_each(?))", json.dumps(names)):
                self._records[record.name] = record

    def records(self, topics: Sequence[str]) -> list[ChannelRecord] | None:
        """Return the records of the channels that topics cover, each once, deleted ones too; None if they are many."""
        patterns = tuple(filter(is_pattern, topics))
        if patterns not in self._matching:
            self._matching[patterns] = self._few_matching(patterns)
        covered = self._matching[patterns]
        if covered is None:
            return None
        self.load_records(topics)
        found = {record.id: record for topic in topics if (record := self._records.get(topic)) is not None}
        found.update((record.id, record) for record in covered)
        return list(found.values())

    def all_records(self, topics: Sequence[str]) -> Iterable[ChannelRecord]:
        """Return the records of the channels that topics cover, however many they are."""
        records = self.records(topics)
        if records is not None:
            return records
        covers = Interest(topics).covers
        return (record for record in self._report_rows(self._read_records("1")) if covers(record.name))

    def record(self, name: str) -> ChannelRecord | None:
        """Return the record of a channel, also if it was deleted."""
        self.load_records((name,))
        return self._records[name]

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return at most `limit` names of channels that begin with `prefix` and sort behind `after`, sorted."""
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

    def loss_of(self, record: ChannelRecord) -> ChannelLoss:
        """Return the newest loss of a channel; sequence 0 for none."""
        loss = ChannelLoss(record.lost, record.lost_time, record.lost_reason)
        floor = max(record.floor, record.lost)
        query = "SELECT seq, time, 'expired' FROM message WHERE channel = ? AND seq > ? AND seq <= ?"
        if self._expired_through > floor:
            row = self._row(f"{query} ORDER BY seq DESC LIMIT 1", record.id, floor, self._expired_through)
            loss = ChannelLoss(*row) if row else loss
        if self._has_expired_ttl:
            row = self._row(
                f"{query} AND deadline <= ? ORDER BY seq DESC LIMIT 1", record.id, floor, self.head, self._now
            )
            loss = max(loss, ChannelLoss(*row)) if row else loss
        return loss

    def newest_losses(self, topics: Sequence[str], after: int) -> dict[str, ChannelLoss]:
        """Return, of the topics whose channels lost anything newer than `after`, the newest loss of each.

        However many patterns there are, the channels are walked once.
        """
        key = tuple(topics)
        known_after, losses = self._losses.get(key, (after, None))
        if losses is None or after < known_after:
            losses = self._find_losses(topics, after)
            self._losses[key] = after, losses
        return {topic: loss for topic, loss in losses.items() if loss.seq > after}

    def _find_losses(self, topics: Sequence[str], after: int) -> dict[str, ChannelLoss]:
        self.load_records(topics)
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
        for walk in (self._recorded_losses(after), self._age_losses(after), self._ttl_losses(after)):
            unmatched = UnmatchedPatterns(patterns)
            for name, read_loss in walk:
                taken = unmatched.take(name)
                if taken:
                    loss = read_loss()
                    losses.update((pattern, max(loss, losses.get(pattern, loss))) for pattern in taken)
                    if unmatched.is_empty:
                        break
        return losses

    def _recorded_losses(self, after: int) -> Iterator[tuple[str, Callable[[], ChannelLoss]]]:
        """Walk the channels that lost something newer than `after`, the newest loss first."""
        # One row for a whole chunk, which SQLite makes without the interpreter's lock.
        query = (
            "SELECT group_concat(name, char(10)), min(lost) FROM "
            f"(SELECT name, lost FROM channel WHERE lost > ? AND lost < ? ORDER BY lost DESC LIMIT {_CHUNK_ROWS})"
        )
        below = _MAX_SEQUENCE
        while True:
            joined, below = self._row(query, after, below)
            if joined is None:
                return
            names = joined.split("\n")
            self._on_rows_read(len(names))
            for name in names:
                yield (
                    name,
                    lambda name=name: ChannelLoss(  # type: ignore[misc]
                        *self._row("SELECT lost, lost_time, lost_reason FROM channel WHERE name = ?", name)
                    ),
                )

    def _age_losses(self, after: int) -> Iterator[tuple[str, Callable[[], ChannelLoss]]]:
        """Walk the channels of messages that are too old and still have rows, the newest message first."""
        if self._expired_through <= after:
            return
        rows = self._db.execute(
            "SELECT name, seq FROM message CROSS JOIN channel ON channel.id = message.channel"
            f" WHERE seq > ? AND seq <= ? AND seq > floor ORDER BY seq DESC LIMIT {_EXPIRED_ROWS}",
            (after, self._expired_through),
        )
        count = 0
        for name, seq in self._report_rows(rows):
            count += 1
            yield name, lambda seq=seq: self._expiry_loss(seq)  # type: ignore[misc]
        if count < _EXPIRED_ROWS:
            return
        newest = "(SELECT max(seq) FROM message WHERE channel = channel.id AND seq > floor AND seq <= ?)"
        query = f"SELECT name, {newest} AS newest FROM channel WHERE newest > ? ORDER BY newest DESC"
        for name, seq in self._report_rows(self._db.execute(query, (self._expired_through, after))):
            yield name, lambda seq=seq: self._expiry_loss(seq)  # type: ignore[misc]

    def _ttl_losses(self, after: int) -> Iterator[tuple[str, Callable[[], ChannelLoss]]]:
        """Walk the channels of messages whose time to live is over and that still have rows, the newest one first."""
        if not self._has_expired_ttl:
            return
        query = (
            "SELECT name, max(seq) AS newest FROM message JOIN channel ON channel.id = message.channel"
            " WHERE deadline <= ? AND seq > ? AND seq <= ? AND seq > floor GROUP BY channel.id ORDER BY newest DESC"
        )
        for name, seq in self._report_rows(self._db.execute(query, (self._now, after, self.head))):
            yield name, lambda seq=seq: self._expiry_loss(seq)  # type: ignore[misc]

    def _expiry_loss(self, seq: int) -> ChannelLoss:
        return ChannelLoss(*self._row("SELECT seq, time, 'expired' FROM message WHERE seq = ?", seq))

    # Messages

    def sequences(self, record: ChannelRecord, after: int, *, backward: bool = False) -> Iterator[int]:
        """Go through the messages of a channel that are newer than `after`."""
        floor = max(after, record.floor, self._expired_through)
        if record.last > floor:
            query = f"SELECT seq FROM message WHERE channel = ? AND seq > ? AND seq <= ? {self._alive}"
            order = "ORDER BY seq DESC" if backward else "ORDER BY seq"
            yield from (seq for (seq,) in self._db.execute(f"{query} {order}", (record.id, floor, self.head)))

    def all_sequences(self, after: int, *, backward: bool = False) -> Iterator[tuple[int, str]]:
        """Go through the messages of all channels that are newer than `after`; yield their channels, too."""
        # CROSS JOIN: in the order of the messages, not of the channels.
        query = "SELECT seq, name FROM message CROSS JOIN channel ON channel.id = message.channel"
        query += f" WHERE seq > ? AND seq <= ? AND seq > floor {self._alive}"
        order = "ORDER BY seq DESC" if backward else "ORDER BY seq"
        return self._report_rows(self._db.execute(f"{query} {order}", (max(after, self._expired_through), self.head)))

    def message_totals(self, record: ChannelRecord) -> tuple[int, int]:
        """Return the number of messages of a channel, and the bytes of their data."""
        if self._expired_through <= record.floor and not self._has_expired_ttl:
            return record.messages, record.bytes
        count, size = self._row(
            "SELECT count(*), total(length(data)) FROM message WHERE channel = ? AND seq > ? AND seq <= ? "
            + self._alive,
            record.id,
            max(record.floor, self._expired_through),
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

    def newest_before(self, record: ChannelRecord, unix: float) -> int:
        """Return the newest message of a channel with a time before `unix`, whatever was done to the clock."""
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
        return f"AND (deadline IS NULL OR deadline > {self._now!r})" if self._has_expired_ttl else ""

    def _few_matching(self, patterns: Sequence[str]) -> list[ChannelRecord] | None:
        """Return the records of the channels that patterns cover, unless too many would have to be looked at."""
        ranges = _name_ranges(patterns)
        left = _FEW_CHANNELS
        for condition, values in ranges:
            query = f"SELECT count(*) FROM (SELECT 1 FROM channel WHERE {condition} LIMIT {left + 1})"
            left -= self._row(query, *values)[0]
            if left < 0:
                return None
        covers = Interest(patterns).covers
        found = (record for condition, values in ranges for record in self._read_records(condition, *values))
        return [record for record in found if covers(record.name)]

    def _report_rows(self, rows: Iterator[Any]) -> Iterator[Any]:
        """Go through rows and report every few hundred of them to `on_rows_read`."""
        for count, row in enumerate(rows, 1):
            if count % _CHUNK_ROWS == 0:
                self._on_rows_read(_CHUNK_ROWS)
            yield row

    def _read_records(self, condition: str, *values: str) -> Iterator[ChannelRecord]:
        for row in self._db.execute(f"SELECT {RECORD_COLUMNS} FROM channel WHERE {condition}", values):
            record = record_of_row(row)
            if record is None:
                raise Damaged("the checksum of a channel does not match")
            yield record

    def _row(self, query: str, *values: float | str) -> tuple[Any, ...]:
        """Return the first row; an empty one where there is none."""
        return self._db.execute(query, values).fetchone() or ()


def _name_ranges(patterns: Collection[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return conditions on a name, each with its values, that exclude each other and hold for all names that match."""
    prefixes: list[str] = []
    for prefix in sorted({pattern[: pattern.index("*")] for pattern in patterns}):
        if not prefix:
            return [("1", ())]
        if not prefixes or not prefix.startswith(prefixes[-1]):
            prefixes.append(prefix)
    # A prefix ends with a slash, and a zero is what sorts next behind that.
    return [("name >= ? AND name < ?", (prefix, f"{prefix[:-1]}0")) for prefix in prefixes]
