"""A snapshot: the log at one moment, in one read transaction.

Expired messages are hidden from the moment they expire, whether or not the writer has removed them, so reads do not
wait for the writer. Messages are found by index. A pattern that matches few channels is replaced by their names; for
one that matches many, the whole log after the cursor is scanned (`all_sequences`).
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import takewhile

from pushd.backends.sqlite.channel_record import ChannelRecord
from pushd.backends.sqlite.errors import Damaged, is_undecodable
from pushd.backends.sqlite.latest_scan import LatestScan
from pushd.backends.sqlite.loss_scan import ChannelLoss, LossScan
from pushd.backends.sqlite.row_reader import RowReader
from pushd.backends.sqlite.rows import MESSAGE_COLUMNS, RECORD_COLUMNS, message_of_row, record_of_row
from pushd.core.channel_rules import Retentions
from pushd.core.message import Message
from pushd.core.names import Interest, is_pattern
from pushd.core.patterns import UnmatchedPatterns

_FEW_CHANNELS = 1000
"""The most channels that the patterns of a request are replaced by: as many as a subscription may name."""


class LogSnapshot:
    """The log at one moment. Valid during one transaction, and only for the thread that uses its connection."""

    def __init__(
        self,
        db: sqlite3.Connection,
        retentions: Retentions,
        now: float,
        on_rows_read: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """
        :param db: a connection in a read transaction.
        :param now: seconds of log time.
        :param on_rows_read: called every few hundred rows with their number. It may raise an exception to abort.
        """
        self._reader = RowReader(db, on_rows_read)
        self._now = now
        self._retentions = retentions
        log = self._reader.first("SELECT epoch, seq, unknown, turned_back, peak FROM log")
        self.epoch, self.head, self.unknown, self._turned_back, self._peak = log
        expired = self._newest_before("born", now - retentions.bounds.age, 0)
        self._expired: dict[float | None, int] = {None: expired}
        """By the age of a channel: the messages up to this sequence have expired. None: by that of all channels."""
        self._expired.update((age, self._newest_before("born", now - age, 0)) for age in retentions.ages)
        self._expired_everywhere = min(self._expired.values())
        """Messages up to this sequence have expired, whatever their channel."""
        self._has_expired_ttl = bool(
            self._reader.first("SELECT EXISTS (SELECT 1 FROM message WHERE deadline <= ?)", now)[0]
        )
        """Whether there are messages whose own time to live is over."""
        self._records: dict[str, ChannelRecord | None] = {}
        """Records that were read, by name; None for unknown channels."""
        self._matching: dict[tuple[str, ...], list[ChannelRecord] | None] = {}
        """The records that match patterns, by the patterns; None where there are many."""
        self._losses: dict[tuple[str, ...], tuple[int, dict[str, ChannelLoss]]] = {}
        """A sequence, and the newest loss after it of each topic, by topics."""

    # Signed URLs

    def is_url_remembered(self, digest: bytes, time: float) -> bool:
        """Return whether a signed URL was used, and its time is not over. `time`: unix seconds."""
        query = "SELECT EXISTS (SELECT 1 FROM url WHERE digest = ? AND until > ?)"
        return bool(self._reader.first(query, digest, time)[0])

    # Channels

    def load_records(self, topics: Sequence[str]) -> None:
        """Read the records of the channels among topics, in one query."""
        names = [topic for topic in topics if topic not in self._records and not is_pattern(topic)]
        self._records.update(dict.fromkeys(names))
        if names:
            for record in self._read_records("name IN (SELECT value FROM json_each(?))", json.dumps(names)):
                self._records[record.name] = record

    def records(self, topics: Sequence[str]) -> list[ChannelRecord] | None:
        """Return the records that match topics, each once, deleted ones too; None if there are many."""
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
        """Return the records that match topics, however many there are."""
        records = self.records(topics)
        if records is not None:
            return records
        covers = Interest(topics).covers
        return (record for record in self._reader.counted(self._read_records("1")) if covers(record.name))

    def record(self, name: str) -> ChannelRecord | None:
        """Return the record of a channel, deleted or not; None if it is unknown."""
        self.load_records((name,))
        return self._records[name]

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return at most `limit` names of channels that begin with `prefix` and sort after `after`, sorted."""
        rows = self._reader.rows(
            "SELECT name FROM channel WHERE name >= ? AND name > ? AND NOT deleted ORDER BY name LIMIT ?",
            prefix,
            after,
            limit,
        )
        names = []
        for (name,) in rows:
            if not name.startswith(prefix):
                break
            names.append(name)
        return names

    # Losses

    def loss_of(self, record: ChannelRecord) -> ChannelLoss:
        """Return the newest loss of a channel; with sequence 0 for none."""
        loss = ChannelLoss(record.lost, record.lost_time, record.lost_reason)
        floor = max(record.floor, record.lost)
        query = "SELECT seq, time, 'expired' FROM message WHERE channel = ? AND seq > ? AND seq <= ?"
        expired_through = self._expired_through(record.name)
        if expired_through > floor:
            row = self._reader.first(f"{query} ORDER BY seq DESC LIMIT 1", record.id, floor, expired_through)
            loss = ChannelLoss(*row) if row else loss
        if self._has_expired_ttl:
            row = self._reader.first(
                f"{query} AND deadline <= ? ORDER BY seq DESC LIMIT 1", record.id, floor, self.head, self._now
            )
            loss = max(loss, ChannelLoss(*row)) if row else loss
        return loss

    def newest_losses(self, topics: Sequence[str], after: int) -> dict[str, ChannelLoss]:
        """Return the newest loss of each topic that lost a message after `after`, by topic.

        The channels are scanned once, however many patterns there are.
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
        scan = LossScan(
            self._reader,
            self._now,
            self.head,
            self._expired_through,
            max(self._expired.values()),
            has_ages=len(self._expired) > 1,
            has_expired_ttl=self._has_expired_ttl,
        )
        losses.update(scan.newest_losses(patterns, after))
        return losses

    # Messages

    def sequences(self, record: ChannelRecord, after: int, *, backward: bool = False) -> Iterator[int]:
        """Yield the sequences of the messages of a channel after `after`."""
        floor = max(after, record.floor, self._expired_through(record.name))
        if record.last > floor:
            query = f"SELECT seq FROM message WHERE channel = ? AND seq > ? AND seq <= ? {self._alive}"
            order = "ORDER BY seq DESC" if backward else "ORDER BY seq"
            yield from (seq for (seq,) in self._reader.rows(f"{query} {order}", record.id, floor, self.head))

    def newest_upto(self, record: ChannelRecord, upto: int) -> int:
        """Return the sequence of the newest message of a channel up to `upto`; 0 for none."""
        floor = max(record.floor, self._expired_through(record.name))
        if record.last <= floor:
            return 0
        query = f"SELECT seq FROM message WHERE channel = ? AND seq > ? AND seq <= ? {self._alive}"
        row = self._reader.first(f"{query} ORDER BY seq DESC LIMIT 1", record.id, floor, min(upto, self.head))
        return int(row[0]) if row else 0

    def latest(self, upto: int) -> LatestScan:
        """Return a scan for the newest message of each channel up to `upto`."""
        return LatestScan(
            self._reader, min(upto, self.head), self._expired_through, self._expired_everywhere, self._alive
        )

    def all_sequences(self, after: int, *, backward: bool = False) -> Iterator[tuple[int, str]]:
        """Yield the sequences and channels of all messages after `after`."""
        # CROSS JOIN makes SQLite scan the messages in their order, instead of channel by channel.
        query = "SELECT seq, name FROM message CROSS JOIN channel ON channel.id = message.channel"
        query += f" WHERE seq > ? AND seq <= ? AND seq > floor {self._alive}"
        order = "ORDER BY seq DESC" if backward else "ORDER BY seq"
        rows = self._reader.counted_rows(f"{query} {order}", max(after, self._expired_everywhere), self.head)
        if len(self._expired) == 1:
            return rows
        return ((seq, name) for seq, name in rows if seq > self._expired_through(name))

    def message_totals(self, record: ChannelRecord) -> tuple[int, int]:
        """Return the number of messages of a channel, and the bytes of their data."""
        expired_through = self._expired_through(record.name)
        if expired_through <= record.floor and not self._has_expired_ttl:
            return record.messages, record.bytes
        count, size = self._reader.first(
            "SELECT count(*), total(length(data)) FROM message WHERE channel = ? AND seq > ? AND seq <= ? "
            + self._alive,
            record.id,
            max(record.floor, expired_through),
            self.head,
        )
        return count, int(size)

    def count(self, record: ChannelRecord, after: int, upto: int) -> int:
        """Return the number of messages of a channel after `after`, up to `upto`."""
        query = f"SELECT count(*) FROM message WHERE channel = ? AND seq > ? AND seq <= ? {self._alive}"
        floor = max(after, record.floor, self._expired_through(record.name))
        return int(self._reader.first(query, record.id, floor, min(upto, self.head))[0])

    def counts(self, after: int, upto: int) -> Iterator[tuple[str, int]]:
        """Yield the channels with messages after `after`, up to `upto`, and the number of these."""
        if len(self._expired) > 1:
            rows = takewhile(lambda row: row[0] <= upto, self.all_sequences(after))
            return iter(Counter(name for _, name in rows).items())
        query = "SELECT name, count(*) FROM message CROSS JOIN channel ON channel.id = message.channel"
        query += f" WHERE seq > ? AND seq <= ? AND seq > floor {self._alive} GROUP BY channel.id"
        return self._reader.rows(query, max(after, self._expired_everywhere), min(upto, self.head))

    def message(self, seq: int, name: str) -> Message | None:
        """Return a message of a channel; None if it is damaged."""
        try:
            row = self._reader.first(f"SELECT {MESSAGE_COLUMNS} FROM message WHERE seq = ?", seq)
        except sqlite3.OperationalError as error:
            if is_undecodable(error):
                return None
            raise
        return message_of_row(row, self.epoch, name) if len(row) == 13 else None

    # Times

    def before_time(self, unix: float) -> int | None:
        """Return the sequence up to which all timestamps are before `unix`, in unix seconds, and after which none is.

        None if there is no such sequence, because the wall clock was set back from a later time.
        """
        if self._turned_back and unix <= self._peak:
            return None
        return self._newest_before("time", unix, max(0, self._turned_back - 1))

    def newest_before(self, record: ChannelRecord, unix: float) -> int:
        """Return the sequence of the newest message of a channel with a timestamp before `unix`; 0 for none."""
        row = self._reader.first(
            "SELECT seq FROM message WHERE channel = ? AND seq > ? AND time < ? ORDER BY seq DESC LIMIT 1",
            record.id,
            record.floor,
            unix,
        )
        return int(row[0]) if row else 0

    def _newest_before(self, column: str, value: float, low: int) -> int:
        """Bisect for the sequence up to which `column` is less than `value`; `column` must not decrease after `low`."""
        first = self._reader.first(f"SELECT {column} FROM message WHERE seq > ? ORDER BY seq LIMIT 1", low)
        if not first or first[0] >= value:
            return low
        high = self.head
        while low < high:
            middle = (low + high + 1) // 2
            row = self._reader.first(
                f"SELECT seq, {column} FROM message WHERE seq > ? AND seq <= ? ORDER BY seq DESC LIMIT 1", low, middle
            )
            if row and row[1] >= value:
                high = row[0] - 1
            else:
                low = middle
        return low

    # Rows

    def _expired_through(self, name: str) -> int:
        """Return the sequence up to which the messages of a channel have expired by their age."""
        expired = self._expired
        return expired[None] if len(expired) == 1 else expired[self._retentions.of(name).age]

    @property
    def _alive(self) -> str:
        return f"AND (deadline IS NULL OR deadline > {self._now!r})" if self._has_expired_ttl else ""

    def _few_matching(self, patterns: Sequence[str]) -> list[ChannelRecord] | None:
        """Return the records that match patterns; None if too many would have to be examined."""
        ranges = _name_ranges(patterns)
        left = _FEW_CHANNELS
        for condition, values in ranges:
            query = f"SELECT count(*) FROM (SELECT 1 FROM channel WHERE {condition} LIMIT {left + 1})"
            left -= self._reader.first(query, *values)[0]
            if left < 0:
                return None
        covers = Interest(patterns).covers
        found = (record for condition, values in ranges for record in self._read_records(condition, *values))
        return [record for record in found if covers(record.name)]

    def _read_records(self, condition: str, *values: str) -> Iterator[ChannelRecord]:
        for row in self._reader.rows(f"SELECT {RECORD_COLUMNS} FROM channel WHERE {condition}", *values):
            record = record_of_row(row)
            if record is None:
                raise Damaged("the checksum of a channel does not match")
            yield record


def _name_ranges(patterns: Collection[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return disjoint SQL conditions, each with its values, that together hold for all names that may match."""
    prefixes: list[str] = []
    for prefix in sorted({pattern[: pattern.index("*")] for pattern in patterns}):
        if not prefix:
            return [("1", ())]
        if not prefixes or not prefix.startswith(prefixes[-1]):
            prefixes.append(prefix)
    # A prefix ends with a slash, and the character after the slash is the zero.
    return [("name >= ? AND name < ?", (prefix, f"{prefix[:-1]}0")) for prefix in prefixes]
