"""Expiry: expired messages are removed from the file, a few at a time."""

import sqlite3
from collections.abc import Sequence
from math import inf
from typing import Any, Final

from pushd.backends.sqlite.channel_record import ChannelRecord
from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.ledger import Ledger

STEP_SIZE: Final = 256
"""The most rows that one statement deletes, and pages that one vacuum frees: some milliseconds."""
ENTRY_COLUMNS = (
    "channel, seq, time, length(data), "
    "length(content_type) + coalesce(length(event), 0) + coalesce(length(CAST(sender AS BLOB)), 0)"
)
"""The sender is cast, since the length of text ends at a NUL."""


class Expiry:
    """Removes the messages that are too old, by the age of all channels, by that of their own channel, or by their time
    to live. The new messages of the ledger must have been inserted.
    """

    def __init__(self, db: sqlite3.Connection, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger

    def run(self, now: float) -> bool:
        """Remove expired messages, at most `STEP_SIZE` of each kind; return whether there may be more.

        :param now: seconds of log time.
        """
        return self._expire_by_age(now) or self._expire_by_deadline(now) or self._expire_by_own_age(now)

    def find_next(self) -> float:
        """Return the log time before which nothing expires; infinite when there are no messages."""
        deadline = self._db.execute("SELECT min(deadline) FROM message WHERE deadline IS NOT NULL").fetchone()[0]
        query = "SELECT born FROM message WHERE seq > ? ORDER BY seq LIMIT 1"
        oldest = self._db.execute(query, (self._ledger.aged_through,)).fetchone()
        by_age = oldest[0] + self._ledger.bounds.age if oldest else inf
        return min(inf if deadline is None else deadline, by_age, self._ledger.aging.next_due)

    def _expire_by_age(self, now: float) -> bool:
        """Remove messages older than the age of all channels; return whether there may be more."""
        ledger = self._ledger
        after = ledger.aged_through
        newest = (
            "(SELECT max(seq) FROM (SELECT seq, born FROM message WHERE seq > ? ORDER BY seq LIMIT ?) WHERE born < ?)"
        )
        rows = self._db.execute(
            f"SELECT {ENTRY_COLUMNS} FROM message WHERE seq > ? AND seq <= {newest} ORDER BY seq",
            (after, after, STEP_SIZE, now - self._ledger.bounds.age),
        ).fetchall()
        removed = [row for row in rows if self._record(row[0]).retention.age is None]
        if len(removed) < len(rows):
            ledger.aged_through = rows[-1][1]
        self._remove(removed)
        return len(rows) == STEP_SIZE

    def _expire_by_deadline(self, now: float) -> bool:
        """Remove messages whose time to live is over; return whether there may be more."""
        query = f"SELECT {ENTRY_COLUMNS} FROM message WHERE deadline <= ? ORDER BY deadline, seq LIMIT ?"
        rows = self._db.execute(query, (now, STEP_SIZE)).fetchall()
        self._remove(rows)
        return len(rows) == STEP_SIZE

    def _expire_by_own_age(self, now: float) -> bool:
        """Remove messages older than the age of their channel, if it has one; return whether there may be more."""
        aging, left = self._ledger.aging, STEP_SIZE
        while left > 0 and aging.next_due < now:
            record = aging.take()
            left -= 1 if record is None else 1 + self._expire_record(record, now, left)
        return left <= 0

    def _expire_record(self, record: ChannelRecord, now: float, most: int) -> int:
        """Remove at most `most` messages older than the age of their channel; return their number."""
        age = record.retention.age
        if age is None or not record.messages:
            return 0
        rows = self._db.execute(
            f"SELECT {ENTRY_COLUMNS}, born FROM message WHERE channel = ? AND seq > ? ORDER BY seq LIMIT ?",
            (record.id, record.floor, most + 1),
        ).fetchall()
        expired = [row[:-1] for row in rows[:most] if row[-1] < now - age]
        self._remove(expired)
        if len(expired) < len(rows):
            self._ledger.aging.schedule(record.id, record, rows[len(expired)][-1] + age)
        return len(expired)

    def _remove(self, rows: Sequence[Sequence[Any]]) -> None:
        """Remove expired messages, given as rows of `ENTRY_COLUMNS`."""
        for channel, *rest in rows:
            record = self._record(channel)
            self._ledger.remove_message(record, record.entry(*rest), "expired")
        self._db.executemany("DELETE FROM message WHERE seq = ?", [(row[1],) for row in rows])

    def _record(self, channel: int) -> ChannelRecord:
        record = self._ledger.by_id.get(channel)
        if record is None:
            raise Damaged("a message belongs to no channel")
        return record
