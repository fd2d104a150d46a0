"""Recovery from a damaged file: it is copied, and its intact rows go into a new file.

The new file has a new epoch, since it is unknown which messages are missing: so a returning subscriber receives a gap
and then all messages that are kept. It is written under another name and replaces the damaged one
in one step.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.directory import Directory, connect
from pushd.backends.sqlite.record import Record
from pushd.backends.sqlite.rows import MESSAGE_COLUMNS, RECORD_COLUMNS, message_of_row, record_of_row, row_of_record
from pushd.backends.sqlite.schema import migrate, version_of
from pushd.core.message import Message

_LAST: Final = 1 << 62
"""Greater than any sequence."""


def put_aside(directory: Directory) -> Path:
    """Copy the file with its write-ahead log; return the path of the copy."""
    name = f"damaged-{time.strftime('%Y%m%d-%H%M%S')}"
    number = len(list(directory.path.glob(f"{name}*.sqlite")))
    aside = directory.file.with_name(f"{name}-{number}.sqlite" if number else f"{name}.sqlite")
    for part, copy in zip(directory.parts, (aside, _log_of(aside)), strict=False):
        if part.exists():
            shutil.copyfile(part, copy)
    return aside


def salvage(directory: Directory, aside: Path, epoch: str) -> str:
    """Write the intact rows of a damaged copy to a new file; return a one-line summary.

    :param epoch: that of the new file.
    :raises BackendUnusable: nothing in it is readable.
    """
    damaged = connect(aside, "ro")
    try:
        # Without this SQLite reads nothing of a file that is shorter than it says.
        damaged.execute("PRAGMA writable_schema = ON")
        version_of(damaged)
        found = _DamagedFile(damaged)
        kept = found.write(_rebuilt(directory), epoch) if found.names else 0
        if not kept:
            _rebuilt(directory).unlink(missing_ok=True)
            raise BackendUnusable(
                "is damaged, and nothing in it is readable; move it away to start with an empty history"
            )
    finally:
        damaged.close()
        aside.with_name(f"{aside.name}-shm").unlink(missing_ok=True)
    take_over(directory)
    missing = found.expected - kept
    loss = f", {missing} lost" if missing > 0 else ""
    return (
        f"Recovered {kept} messages in {len(found.names)} channels{loss}; the damaged file was copied to {aside.name}"
    )


def take_over(directory: Directory) -> None:
    """Replace the damaged file with a complete new one, perhaps of an earlier start."""
    rebuilt = _rebuilt(directory)
    if rebuilt.exists():
        # Not the least frame of the old log may be applied to the new file.
        for part in directory.parts[1:]:
            part.unlink(missing_ok=True)
        os.replace(rebuilt, directory.file)
        _sync(directory.path)


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _rebuilt(directory: Directory) -> Path:
    return directory.file.with_suffix(".rebuilt")


class _DamagedFile:
    """The readable content of a damaged file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.names = self._names_in_index()
        """Channel names by number. The checksums of messages verify them."""
        self.records: dict[int, Record] = {}
        """Intact records by number."""
        for row in _readable(db, RECORD_COLUMNS, "channel NOT INDEXED", "id"):
            record = record_of_row(row)
            if record is not None:
                self.names[record.id] = record.name
                self.records[record.id] = record
        self.expected = sum(record.messages for record in self.records.values())
        """Number of messages, as far as it is known."""

    def write(self, file: Path, epoch: str) -> int:
        """Write a new file, under another name until it is complete; return its number of messages."""
        unfinished = file.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        db = connect(unfinished, "rwc")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        head, now, wall = self._log()
        migrate(db, epoch, wall)
        db.execute("BEGIN")
        kept = {number: self._without_messages(number) for number in self.names}
        for row in _readable(self._db, MESSAGE_COLUMNS, "message NOT INDEXED", "seq"):
            record = kept.get(row[1])
            message = message_of_row(row, epoch, record.name) if record else None
            if record is not None and message is not None and message.seq > record.floor:
                db.execute(f"INSERT INTO message ({MESSAGE_COLUMNS}) VALUES {_places(12)}", row)
                _count(record, message)
                head, now = max(head, message.seq), max(now, row[4])
        for record in kept.values():
            db.execute(f"INSERT INTO channel ({RECORD_COLUMNS}) VALUES {_places(17)}", row_of_record(record))
        # As if the clock had been set back just now: then no query relies on the order of times.
        db.execute("UPDATE log SET seq = ?, now = ?, turned_back = ?, peak = 1e308", (head, now, head))
        db.execute("COMMIT")
        db.close()
        _sync(unfinished)
        os.replace(unfinished, file)
        return sum(record.messages for record in kept.values())

    def _names_in_index(self) -> dict[int, str]:
        names: dict[int, str] = {}
        for order in ("ASC", "DESC"):
            with suppress(sqlite3.DatabaseError):
                for name, number in self._db.execute(
                    f"SELECT name, id FROM channel INDEXED BY sqlite_autoindex_channel_1 ORDER BY name {order}"
                ):
                    names[number] = name
        return names

    def _without_messages(self, number: int) -> Record:
        known = self.records.get(number)
        if known is None:
            return Record(number, self.names[number])
        known.messages = known.bytes = known.cost = known.stale = 0
        return known

    def _log(self) -> tuple[int, float, float]:
        """Return the newest sequence, and the last commit in log time and by the wall clock."""
        with suppress(sqlite3.DatabaseError, TypeError, ValueError):
            seq, now, wall = self._db.execute("SELECT seq, now, wall FROM log").fetchone()
            return int(seq), float(now), float(wall)
        return max((record.used for record in self.records.values()), default=0), 0.0, time.time()


def _readable(db: sqlite3.Connection, columns: str, table: str, key: str) -> Iterator[tuple[Any, ...]]:
    """Iterate over the rows of a table, and skip unreadable ones."""
    query = f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key}"
    after = 0
    while after <= _LAST:
        try:
            for row in db.execute(query, (after,)):
                after = row[0]
                yield row
            return
        except sqlite3.DatabaseError:
            after = _next_readable(db, query, after)


def _next_readable(db: sqlite3.Connection, query: str, low: int) -> int:
    """Find the end of unreadable rows: by increasing steps, then by bisection."""
    high = low + 1
    while not _can_read(db, query, high):
        low, high = high, high + 2 * (high - low)
        if high > _LAST:
            return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _can_read(db, query, middle) else (middle, high)
    return high


def _can_read(db: sqlite3.Connection, query: str, after: int) -> bool:
    try:
        db.execute(f"{query} LIMIT 1", (after,)).fetchone()
    except sqlite3.DatabaseError:
        return False
    return True


def _count(record: Record, message: Message) -> None:
    size = len(message.data)
    one = record.entry(message.seq, message.time, size, len(message.content_type) + len(message.event or ""))
    record.messages += 1
    record.bytes += size
    record.cost += one.cost
    if message.seq >= record.last:
        record.last, record.last_time = message.seq, message.time
    if message.seq > record.used:
        record.used = record.place = message.seq
        record.ended = message.end


def _places(count: int) -> str:
    return f"({', '.join('?' * count)})"


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
