"""The writer: it executes requests against the file, many of them in one transaction.

Readers see all of a transaction once it is committed, or nothing if the commit fails. After a failure the writer is
discarded, and a new one loads its state from the file.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from math import inf
from typing import Any

from pushd.backends.hook_outbox import QueuedEvent
from pushd.backends.interface import PublishResult
from pushd.backends.sqlite.channel_record import ChannelRecord, Entry
from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.expiry import ENTRY_COLUMNS, STEP_SIZE, Expiry
from pushd.backends.sqlite.hook_rows import HookLedger
from pushd.backends.sqlite.key_rows import RememberedKeys
from pushd.backends.sqlite.ledger import Ledger
from pushd.backends.sqlite.member_rows import read_members, replace_members, write_members
from pushd.backends.sqlite.revocation_rows import read_revocations, write_revocations
from pushd.backends.sqlite.rows import MESSAGE_COLUMNS, RECORD_COLUMNS, record_of_row, row_of_message, row_of_record
from pushd.backends.sqlite.writer_requests import (
    CommitResult,
    ConfirmRequest,
    DeadLetterRequest,
    DeadLetters,
    DeleteRequest,
    HookRequest,
    LogTotals,
    PresenceRequest,
    PublishEvents,
    PublishRequest,
    Request,
    RequestResult,
    RetentionRequest,
    RevokeRequest,
    TickRequest,
    UrlRequest,
)
from pushd.core.channel_rules import Retentions
from pushd.core.errors import Refusal
from pushd.core.message import Draft, Message, unkept_message
from pushd.core.remembered_urls import MAX_URLS
from pushd.core.timestamp import round_timestamp
from pushd.wire.hook_events import dead_letter_draft, publish_event

_CLOCK_SECONDS = 1.0
"""The change between wall clock and log time that is written to the file even if there is nothing to commit."""
_MAX_STALE_ROWS = 10_000
"""With more stale rows than these, a commit deletes those of any channel, to bound the size of the file."""


class _Statement:
    """An INSERT of many rows at a time.

    Each statement releases the interpreter's lock and has to acquire it again, so a few large statements are much
    faster than one for each row. Any number of rows is a sum of the sizes, so few different statements are prepared.
    """

    _SIZES = (128, 64, 32, 16, 8, 4, 2, 1)

    def __init__(self, head: str, width: int, suffix: str = "") -> None:
        """
        :param width: the number of values of a row.
        """
        row = f"({', '.join('?' * width)})"
        self._texts = {size: f"{head} VALUES {', '.join([row] * size)} {suffix}" for size in self._SIZES}

    def execute(self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute the statement for all rows."""
        place = 0
        for size, text in self._texts.items():
            while len(rows) - place >= size:
                db.execute(text, list(chain.from_iterable(rows[place : place + size])))
                place += size


_INSERT = _Statement(f"INSERT INTO message ({MESSAGE_COLUMNS})", 13)
_UPSERT = _Statement(
    f"INSERT INTO channel ({RECORD_COLUMNS})",
    17,
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in RECORD_COLUMNS.split(", ")[2:]),
)


def _writes_nothing(request: Request) -> bool:
    """Return whether a request changes nothing in the file."""
    if isinstance(request, PublishRequest):
        return not any(draft.keep for draft in request.drafts)
    return isinstance(request, TickRequest)


class Writer:
    """Executes requests against the file. Not thread-safe.

    :raises Damaged: when the content of the file is inconsistent.
    """

    def __init__(self, db: sqlite3.Connection, retentions: Retentions) -> None:
        self.db = db
        self._retentions = retentions
        self._bounds = retentions.bounds
        self._next_expiry = 0.0
        """Nothing expires earlier than this, in seconds of log time."""
        self._wall_offset = 0.0
        """Unix seconds minus log time, at the last commit."""
        self._now = 0.0
        """The log time of the last request."""
        self.committed_at = 0.0
        """The log time of the last commit of requests."""
        self._inserted = 0
        """Messages inserted in this transaction."""
        self._has_more_expired = False
        """Whether more messages have expired than this transaction removes."""
        self._ledger = self._load()
        self._expiry = Expiry(db, self._ledger)
        self._hooks = HookLedger(db)
        self._keys = RememberedKeys(db, self._ledger.epoch)
        self.revocations = read_revocations(db)
        """Those in the file when it was opened."""
        self.members = read_members(db)
        """Those in the file when it was opened."""
        self._urls = int(db.execute("SELECT count(*) FROM url").fetchone()[0])
        """The number of signed URLs that are remembered."""

    @property
    def totals(self) -> LogTotals:
        """The state of the log, including the open transaction."""
        ledger = self._ledger
        return LogTotals(
            ledger.epoch,
            ledger.head,
            ledger.messages,
            ledger.bytes,
            ledger.channel_count,
            ledger.newest_loss,
            ledger.memory,
            self._hooks.backlogs,
        )

    @property
    def has_maintenance(self) -> bool:
        """Whether `maintain` has something to do."""
        ledger = self._ledger
        return self._now >= self._next_expiry or ledger.exceeds_bounds or bool(ledger.stale) or self._excess_pages() > 0

    # Transactions

    def commit(self, requests: Sequence[Request]) -> CommitResult:
        """Commit requests in one transaction.

        :raises sqlite3.Error: when the commit fails. Nothing was done, and the writer must be discarded.
        :raises Damaged: when the file turns out to be damaged; likewise.
        """
        ledger, last = self._ledger, requests[-1]
        self._now = last.now
        is_idle = all(map(_writes_nothing, requests)) and last.now < self._next_expiry
        if is_idle and abs(last.time - last.now - self._wall_offset) < _CLOCK_SECONDS:
            return CommitResult([self._execute(request) for request in requests], self.totals, [])
        self.db.execute("BEGIN IMMEDIATE")
        self._inserted, self._has_more_expired = 0, False
        results = [self._execute(request) for request in requests]
        dead = [self._dead_letter(hook, "backlog", event, last) for hook, event in self._hooks.trim()]
        if ledger.exceeds_bounds:
            self._evict_excess()
        self._insert()
        # Twice as many rows are deleted as inserted, so that stale ones do not accumulate when there is never a pause.
        self._sweep(2 * self._inserted, ledger.stale if ledger.stale_rows > _MAX_STALE_ROWS else ledger.sweepable)
        dropped = [record.name for record in ledger.dropped]
        self._flush()
        self._hooks.flush()
        self._keys.flush(last.time)
        self._commit(last.now, last.time)
        return CommitResult(results, self.totals, dropped, [each for each in dead if each is not None])

    def maintain(self) -> None:
        """Do a little maintenance: remove expired or excess messages, delete stale rows, or shrink the file.

        :raises sqlite3.Error: as for `commit`.
        :raises Damaged: as for `commit`.
        """
        spare = (
            0
            if self._now >= self._next_expiry or self._ledger.exceeds_bounds or self._ledger.stale
            else self._excess_pages()
        )
        if spare:
            # Each step of this statement frees one page, and `execute` runs only the first step.
            self.db.executescript(f"PRAGMA incremental_vacuum({min(STEP_SIZE, spare)})")
            return
        self.db.execute("BEGIN IMMEDIATE")
        if self._now >= self._next_expiry:
            self._expire(self._now)
        else:
            self._evict_excess()
            self._sweep(STEP_SIZE, self._ledger.stale)
        self._flush()
        self.db.execute("COMMIT")

    def checkpoint(self) -> None:
        """Copy the rest of the write-ahead log into the file, so that the next commit can overwrite the log."""
        self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def roll_back(self) -> None:
        """Roll back the open transaction and close the file."""
        with suppress(sqlite3.Error):
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        self.db.close()

    def _commit(self, now: float, time: float) -> None:
        ledger = self._ledger
        self.db.execute(
            "UPDATE log SET seq = ?, unknown = ?, turned_back = ?, peak = ?, now = ?, wall = ?",
            (ledger.head, ledger.unknown, ledger.turned_back, ledger.peak, now, time),
        )
        self._wall_offset = time - now
        self.db.execute("COMMIT")
        self.committed_at = now

    # Requests

    def _execute(self, request: Request) -> RequestResult:
        if request.now >= self._next_expiry and not self._has_more_expired:
            self._expire(request.now)
        if isinstance(request, PresenceRequest):
            if request.is_complete:
                replace_members(self.db, request.rows)
            else:
                write_members(self.db, request.rows, request.deleted)
        if isinstance(request, PublishRequest | PresenceRequest):
            accepted = self._publish(request)
            if request.hooks is not None:
                self._add_events(request.hooks, accepted)
            return accepted
        if isinstance(request, HookRequest):
            return self._execute_hook(request)
        if isinstance(request, RetentionRequest):
            self._retentions = request.retentions
            self._ledger.reconfigure(request.retentions)
            self._evict_excess()  # before a later request of this transaction expires messages by the former rules
            return None
        if isinstance(request, RevokeRequest):
            write_revocations(self.db, request.revocations, request.time)
            return None
        if isinstance(request, UrlRequest):
            self._remember_url(request)
            return None
        return self._ledger.delete(request.name) if isinstance(request, DeleteRequest) else None

    def _publish(self, request: PublishRequest | PresenceRequest) -> list[PublishResult]:
        time, now, drafts = round_timestamp(request.time), request.now, request.drafts
        key = request.key if isinstance(request, PublishRequest) else None
        if key is None:
            return [self._accept(draft, time, now) for draft in drafts]
        earlier = self._keys.find(key, len(drafts), request.time)
        if earlier is not None and all(earlier):
            return [result for result in earlier if result]
        earlier = earlier or [None] * len(drafts)
        accepted = [result or self._accept(draft, time, now) for draft, result in zip(drafts, earlier, strict=True)]
        self._keys.add(key, accepted, request.time)
        return accepted

    def _accept(self, draft: Draft, time: float, now: float) -> Message | Refusal:
        if not draft.keep:
            return unkept_message(draft, self._ledger.epoch, self._ledger.head, time)
        try:
            message = self._ledger.accept(draft, time, now)
        except Refusal as refusal:
            return refusal.without_traceback()
        due = now + (self._bounds.age if draft.ttl is None else min(draft.ttl, self._bounds.age))
        due = min(due, self._ledger.aging.next_due)
        if due < self._next_expiry:
            self._next_expiry = due
        return message

    # Hooks

    def _execute_hook(self, request: HookRequest) -> DeadLetters | None:
        if isinstance(request, ConfirmRequest):
            self._hooks.confirm(request.hook, request.through)
            return None
        if isinstance(request, DeadLetterRequest):
            events, has_more = self._hooks.take(request.hook, request.through, request.before)
            letters = [self._dead_letter(request.hook, request.reason, event, request) for event in events]
            return DeadLetters([each for each in letters if each is not None], has_more)
        self._hooks.bounds.update(request.bounds)
        for event in request.events:
            self._hooks.add(*event[:2], round_timestamp(request.time), event.body)
        return None

    def _add_events(self, hooks: PublishEvents, accepted: Sequence[PublishResult]) -> None:
        self._hooks.bounds.update(hooks.bounds)
        for message, of_message in zip(accepted, hooks.hooks, strict=True):
            if isinstance(message, Message):
                for name, has_content in of_message:
                    body = publish_event(
                        name, message.id, message.channel, message.time, message if has_content else None
                    )
                    self._hooks.add(name, message.channel, message.time, body)

    def _dead_letter(self, hook: str, reason: str, event: QueuedEvent, request: Request) -> Message | None:
        """Make a dead letter of an event; None if there are too many channels of them."""
        draft = dead_letter_draft(hook, reason, event.body)
        message = self._accept(draft, round_timestamp(request.time), request.now)
        return message if isinstance(message, Message) else None

    def _remember_url(self, request: UrlRequest) -> None:
        """Remember a URL, and forget at most two others: one row more is deleted than inserted."""
        insertion = self.db.execute("INSERT OR IGNORE INTO url VALUES (?, ?)", (request.digest, request.until))
        self._urls += insertion.rowcount
        deletion = self.db.execute(
            "DELETE FROM url WHERE digest IN (SELECT digest FROM url WHERE until <= ? ORDER BY until LIMIT 2)",
            (inf if self._urls > MAX_URLS else request.time,),
        )
        self._urls -= deletion.rowcount

    # Rows

    def _flush(self) -> None:
        """Write the changed records of the ledger; its messages have been inserted."""
        ledger = self._ledger
        for record in ledger.dropped:
            # Before `changed`, which may have a new record of the same name.
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

    def _oldest_of(self, record: ChannelRecord, count: int) -> list[Entry]:
        self._insert()
        rows = self.db.execute(
            f"SELECT {ENTRY_COLUMNS} FROM message WHERE channel = ? AND seq > ? ORDER BY seq LIMIT ?",
            (record.id, record.floor, count),
        ).fetchall()
        if not rows:
            raise Damaged(f"channel {record.name} has fewer messages than its record counts")
        return [record.entry(*row[1:]) for row in rows]

    def _expire(self, now: float) -> None:
        """Remove expired messages, at most `STEP_SIZE` of each kind."""
        self._insert()
        self._has_more_expired = self._expiry.run(now)
        self._next_expiry = now if self._has_more_expired else self._expiry.find_next()

    def _evict_excess(self) -> None:
        """Evict at most `STEP_SIZE` messages of channels whose bounds were lowered, and apply other rules."""
        if self._ledger.is_outdated:
            self._next_expiry = 0.0
        self._ledger.evict_excess(STEP_SIZE)

    def _sweep(self, count: int, records: dict[int, ChannelRecord]) -> None:
        """Delete at most `count` stale rows.

        :param records: the records whose rows may be deleted, by id.
        """
        while count > 0 and records:
            record = next(iter(records.values()))
            wanted = min(count, STEP_SIZE, record.stale)
            deleted = self.db.execute(
                "DELETE FROM message WHERE seq IN "
                "(SELECT seq FROM message WHERE channel = ? AND seq <= ? ORDER BY seq LIMIT ?)",
                (record.id, record.floor, wanted),
            ).rowcount
            # If there were fewer rows than the record counts, none is left.
            self._ledger.on_rows_deleted(record, deleted if deleted == wanted else record.stale)
            count -= wanted

    def _excess_pages(self) -> int:
        """Return the number of free pages beyond the reserve: a quarter of the file, and at least a megabyte."""
        (empty,), (pages,) = (self.db.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count"))
        return max(0, int(empty) - max(int(pages) // 4, STEP_SIZE))

    def _load(self) -> Ledger:
        log = self.db.execute("SELECT epoch, seq, unknown, turned_back, peak, wall - now, now FROM log").fetchone()
        if log is None:
            raise Damaged("the table log is empty")
        epoch, head, unknown, turned_back, peak, self._wall_offset, self.committed_at = log
        records = list(map(record_of_row, self.db.execute(f"SELECT {RECORD_COLUMNS} FROM channel ORDER BY place")))
        newest = self.db.execute("SELECT seq, time FROM message ORDER BY seq DESC LIMIT 1").fetchone() or (0, 0.0)
        if None in records or newest[0] > head:
            raise Damaged("the checksum of a channel does not match, or a message is newer than the head of the log")
        ledger = Ledger(self._retentions, epoch, head, unknown, filter(None, records), self._oldest_of)
        ledger.turned_back, ledger.peak, ledger.newest_time = turned_back, peak, newest[1]
        return ledger
