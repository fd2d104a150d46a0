"""The writer: it turns requests into rows, many requests in one transaction.

A transaction takes effect for all readers when it is committed, and for none if that fails; then the writer is
discarded, and a new one loads its state from the file.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from math import inf
from typing import Any

from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.ledger import Ledger
from pushd.backends.sqlite.record import Entry, Record
from pushd.backends.sqlite.requests import (
    Answer,
    CommitResult,
    DeleteRequest,
    LogTotals,
    PublishRequest,
    Request,
    TickRequest,
)
from pushd.backends.sqlite.rows import MESSAGE_COLUMNS, RECORD_COLUMNS, record_of_row, row_of_message, row_of_record
from pushd.core.errors import Refusal
from pushd.core.history import Bounds
from pushd.core.message import Draft, Message

_STEP = 256
"""Rows that are deleted, and pages that are freed, in one step: some milliseconds."""
_CLOCK_SECONDS = 1.0
"""The change of the wall clock that is recorded at once."""
_MUCH_STALE = 10_000
"""Number of stale rows from which they are deleted even if they are scattered."""


class _Statement:
    """A statement for many rows.

    Each statement gives the interpreter away and has to wait for it again, so few large ones are worth much more than
    many of one row. The sizes add up to any number, and SQLite has soon seen all of them before.
    """

    _SIZES = (128, 64, 32, 16, 8, 4, 2, 1)

    def __init__(self, head: str, width: int, tail: str = "") -> None:
        """`width`: the number of values of a row."""
        row = f"({', '.join('?' * width)})"
        self._texts = {size: f"{head} VALUES {', '.join([row] * size)} {tail}" for size in self._SIZES}

    def execute(self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute the statement for all rows."""
        place = 0
        for size, text in self._texts.items():
            while len(rows) - place >= size:
                db.execute(text, list(chain.from_iterable(rows[place : place + size])))
                place += size


_ENTRY_COLUMNS = "channel, seq, time, length(data), length(content_type) + coalesce(length(event), 0)"
_INSERT = _Statement(f"INSERT INTO message ({MESSAGE_COLUMNS})", 12)
_UPSERT = _Statement(
    f"INSERT INTO channel ({RECORD_COLUMNS})",
    17,
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in RECORD_COLUMNS.split(", ")[2:]),
)


class Writer:
    """Writes requests to a file. Not thread-safe.

    :raises Damaged: the content of the file is inconsistent.
    """

    def __init__(self, db: sqlite3.Connection, bounds: Bounds) -> None:
        self.db = db
        self._bounds = bounds
        self._due = 0.0
        """No message expires before this time."""
        self._wall_ahead = 0.0
        """The wall clock minus log time, at the last commit."""
        self._now = 0.0
        """Log time of the last request."""
        self._inserted = 0
        """Number of inserted rows of this transaction."""
        self._is_late = False
        """Whether more messages have expired than this transaction removes."""
        self._ledger = self._load()

    @property
    def totals(self) -> LogTotals:
        """The content of the log, in numbers."""
        ledger = self._ledger
        return LogTotals(
            ledger.epoch, ledger.head, ledger.messages, ledger.bytes, ledger.channel_count, ledger.newest_loss
        )

    @property
    def has_chores(self) -> bool:
        """Whether there is maintenance to do."""
        ledger = self._ledger
        return self._now >= self._due or ledger.is_oversized or bool(ledger.stale) or self._spare_pages() > 0

    # Transactions

    def commit(self, requests: Sequence[Request]) -> CommitResult:
        """Commit requests in one transaction.

        :raises sqlite3.Error: nothing was done, and the writer is of no more use.
        """
        ledger, last = self._ledger, requests[-1]
        self._now = last.now
        is_idle = all(isinstance(request, TickRequest) for request in requests) and last.now < self._due
        if is_idle and abs(last.time - last.now - self._wall_ahead) < _CLOCK_SECONDS:
            return CommitResult([None] * len(requests), self.totals, [])
        self.db.execute("BEGIN IMMEDIATE")
        self._inserted, self._is_late = 0, False
        answers = [self._execute(request) for request in requests]
        self._insert()
        # New rows make others stale: more go than come, so that they do not pile up where there is never a pause.
        self._sweep(2 * self._inserted, ledger.stale if ledger.stale_rows > _MUCH_STALE else ledger.ripe)
        dropped = [record.name for record in ledger.dropped]
        self._flush()
        self._end(last.now, last.time)
        return CommitResult(answers, self.totals, dropped)

    def tidy(self) -> None:
        """Do one small step of maintenance.

        :raises sqlite3.Error: as above.
        """
        spare = 0 if self._now >= self._due or self._ledger.is_oversized or self._ledger.stale else self._spare_pages()
        if spare:
            # Each step of this statement gives one page back, and `execute` takes only the first.
            self.db.executescript(f"PRAGMA incremental_vacuum({min(_STEP, spare)})")
            return
        self.db.execute("BEGIN IMMEDIATE")
        if self._now >= self._due:
            self._expire(self._now)
        else:
            self._ledger.trim(_STEP)
            self._sweep(_STEP, self._ledger.stale)
        self._flush()
        self.db.execute("COMMIT")

    def checkpoint(self) -> None:
        """Checkpoint the write-ahead log into the file, so that the next commit starts the log again."""
        self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def abandon(self) -> None:
        """Roll back the open transaction and close the file."""
        with suppress(sqlite3.Error):
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        self.db.close()

    def _end(self, now: float, time: float) -> None:
        ledger = self._ledger
        self.db.execute(
            "UPDATE log SET seq = ?, unknown = ?, turned_back = ?, peak = ?, now = ?, wall = ?",
            (ledger.head, ledger.unknown, ledger.turned_back, ledger.peak, now, time),
        )
        self._wall_ahead = time - now
        self.db.execute("COMMIT")

    # Requests

    def _execute(self, request: Request) -> Answer:
        if request.now >= self._due and not self._is_late:
            self._expire(request.now)
        if isinstance(request, PublishRequest):
            time, now = round(request.time, 3), request.now
            return [self._accept(draft, time, now) for draft in request.drafts]
        return self._ledger.forget(request.name) if isinstance(request, DeleteRequest) else None

    def _accept(self, draft: Draft, time: float, now: float) -> Message | Refusal:
        try:
            message = self._ledger.accept(draft, time, now)
        except Refusal as refusal:
            return refusal.without_traceback()
        due = now + (self._bounds.age if draft.ttl is None else min(draft.ttl, self._bounds.age))
        if due < self._due:
            self._due = due
        return message

    # Rows

    def _flush(self) -> None:
        """Write the changed records of the ledger; its messages are inserted already."""
        ledger = self._ledger
        for record in ledger.dropped:
            # Before `changed`: a channel of the same name may be among those.
            self.db.execute("DELETE FROM message WHERE channel = ?", (record.id,))
            self.db.execute("DELETE FROM channel WHERE id = ?", (record.id,))
        _UPSERT.execute(self.db, [row_of_record(record) for record in ledger.changed.values()])
        ledger.dropped.clear()
        ledger.changed.clear()

    def _insert(self) -> None:
        """Insert the new messages of the ledger."""
        added = self._ledger.added
        if added:
            _INSERT.execute(self.db, [row_of_message(*each) for each in added.values()])
            self._inserted += len(added)
            added.clear()

    def _oldest_of(self, record: Record, count: int) -> list[Entry]:
        self._insert()
        rows = self.db.execute(
            f"SELECT {_ENTRY_COLUMNS} FROM message WHERE channel = ? AND seq > ? ORDER BY seq LIMIT ?",
            (record.id, record.floor, count),
        ).fetchall()
        if not rows:
            raise Damaged(f"channel {record.name} has fewer messages than its record counts")
        return [record.entry(*row[1:]) for row in rows]

    def _expire(self, now: float) -> None:
        """Remove expired messages, or some of them if there are very many."""
        self._insert()
        newest = "(SELECT max(seq) FROM (SELECT seq, born FROM message ORDER BY seq LIMIT ?) WHERE born < ?)"
        is_more = self._lose(
            f"SELECT {_ENTRY_COLUMNS} FROM message WHERE seq <= {newest} ORDER BY seq",
            (_STEP, now - self._bounds.age),
        ) or self._lose(
            f"SELECT {_ENTRY_COLUMNS} FROM message WHERE deadline <= ? ORDER BY deadline, seq LIMIT ?", (now, _STEP)
        )
        self._is_late = is_more
        self._due = now if is_more else self._next_due()

    def _lose(self, query: str, values: tuple[float, ...]) -> bool:
        """Remove at most `_STEP` messages; return whether there may be more."""
        rows = self.db.execute(query, values).fetchall()
        for channel, *rest in rows:
            record = self._ledger.by_id.get(channel)
            if record is None:
                raise Damaged("a message belongs to no channel")
            self._ledger.lose(record, record.entry(*rest), "expired")
        self.db.executemany("DELETE FROM message WHERE seq = ?", [(row[1],) for row in rows])
        return len(rows) == _STEP

    def _next_due(self) -> float:
        deadline = self.db.execute("SELECT min(deadline) FROM message WHERE deadline IS NOT NULL").fetchone()[0]
        oldest = self.db.execute("SELECT born FROM message ORDER BY seq LIMIT 1").fetchone()
        return min(inf if deadline is None else deadline, oldest[0] + self._bounds.age if oldest else inf)

    def _sweep(self, count: int, records: dict[int, Record]) -> None:
        """Delete some stale rows.

        :param records: those that may be swept.
        """
        while count > 0 and records:
            record = next(iter(records.values()))
            wanted = min(count, _STEP, record.stale)
            deleted = self.db.execute(
                "DELETE FROM message WHERE seq IN "
                "(SELECT seq FROM message WHERE channel = ? AND seq <= ? ORDER BY seq LIMIT ?)",
                (record.id, record.floor, wanted),
            ).rowcount
            # Fewer than it says: then none is left.
            self._ledger.swept(record, deleted if deleted == wanted else record.stale)
            count -= wanted

    def _spare_pages(self) -> int:
        """Return the number of empty pages beyond the reserve: a quarter of the file, and a megabyte."""
        (empty,), (pages,) = (self.db.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count"))
        return max(0, int(empty) - max(int(pages) // 4, _STEP))

    def _load(self) -> Ledger:
        log = self.db.execute("SELECT epoch, seq, unknown, turned_back, peak, wall - now FROM log").fetchone()
        if log is None:
            raise Damaged("the table log is empty")
        epoch, head, unknown, turned_back, peak, self._wall_ahead = log
        records = list(map(record_of_row, self.db.execute(f"SELECT {RECORD_COLUMNS} FROM channel ORDER BY place")))
        newest = self.db.execute("SELECT seq, time FROM message ORDER BY seq DESC LIMIT 1").fetchone() or (0, 0.0)
        if None in records or newest[0] > head:
            raise Damaged("the checksum of a channel does not match, or a message is newer than the head of the log")
        ledger = Ledger(self._bounds, epoch, head, unknown, filter(None, records), self._oldest_of)
        ledger.turned_back, ledger.peak, ledger.newest_time = turned_back, peak, newest[1]
        return ledger
