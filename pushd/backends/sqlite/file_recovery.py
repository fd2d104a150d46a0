"""Recovery of a damaged file: it is copied, and its intact rows are written to a new file.

The new file has a new epoch, since it is unknown which messages are missing. So a subscriber that reconnects receives a
gap and then all messages that are kept. The new file is written under another name and replaces the damaged one
atomically.
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
from pushd.backends.sqlite.channel_record import ChannelRecord
from pushd.backends.sqlite.directory import Directory, connect
from pushd.backends.sqlite.hook_rows import copy_events
from pushd.backends.sqlite.revocation_rows import readable_revocations, write_revocations
from pushd.backends.sqlite.rows import (
    MESSAGE_COLUMNS,
    RECORD_COLUMNS,
    message_of_row,
    readable_columns,
    record_of_row,
    row_of_record,
)
from pushd.backends.sqlite.schema import migrate, version_of
from pushd.core.message import Message

_MAX_SEQUENCE: Final = 1 << 62
"""Greater than any sequence."""


def copy_damaged(directory: Directory) -> Path:
    """Copy the file and its write-ahead log as they are; return the path of the copy."""
    name = f"damaged-{time.strftime('%Y%m%d-%H%M%S')}"
    number = len(list(directory.path.glob(f"{name}*.sqlite")))
    copy = directory.file.with_name(f"{name}-{number}.sqlite" if number else f"{name}.sqlite")
    for part, target in zip(directory.files, (copy, _wal_of(copy)), strict=False):
        if part.exists():
            shutil.copyfile(part, target)
    return copy


def recover_file(directory: Directory, copy: Path, epoch: str) -> str:
    """Write the intact rows of a damaged copy to a new file; return a one-line summary.

    :param copy: the path of the copy.
    :param epoch: the epoch of the new file.
    :raises BackendUnusable: when nothing in it is readable.
    """
    damaged = connect(copy, "ro")
    try:
        # Without this SQLite reads nothing from a file that is shorter than its header says.
        damaged.execute("PRAGMA writable_schema = ON")
        version_of(damaged)
        damaged_file = _DamagedFile(damaged)
        kept = damaged_file.write(_rebuilt_path(directory), epoch) if damaged_file.names else 0
        if not kept:
            _rebuilt_path(directory).unlink(missing_ok=True)
            raise BackendUnusable(
                "is damaged, and nothing in it is readable; move it away to start with an empty history"
            )
    finally:
        damaged.close()
        copy.with_name(f"{copy.name}-shm").unlink(missing_ok=True)
    install_rebuilt(directory)
    missing = damaged_file.expected - kept
    loss = f", {missing} lost" if missing > 0 else ""
    content = f"{kept} messages in {len(damaged_file.names)} channels{loss}"
    return f"Recovered {content}; the damaged file was copied to {copy.name}"


def install_rebuilt(directory: Directory) -> None:
    """Replace the damaged file with the recovered one, if there is one: an interrupted start may have left it."""
    rebuilt = _rebuilt_path(directory)
    if rebuilt.exists():
        # No frame of the old write-ahead log may be applied to the new file.
        for part in directory.files[1:]:
            part.unlink(missing_ok=True)
        os.replace(rebuilt, directory.file)
        _fsync(directory.path)


def _wal_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _rebuilt_path(directory: Directory) -> Path:
    return directory.file.with_suffix(".rebuilt")


class _DamagedFile:
    """The readable content of a damaged file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.names = self._names_in_index()
        """Channel names by id. They may be wrong: the checksum of each message shows it."""
        self.records: dict[int, ChannelRecord] = {}
        """The intact records, by id."""
        for row in _readable(db, RECORD_COLUMNS, "channel NOT INDEXED", "id"):
            record = record_of_row(row)
            if record is not None:
                self.names[record.id] = record.name
                self.records[record.id] = record
        self.expected = sum(record.messages for record in self.records.values())
        """The number of messages according to the intact records."""

    def write(self, file: Path, epoch: str) -> int:
        """Write the intact rows to a new file, which appears when it is complete; return the number of messages."""
        unfinished = file.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        db = connect(unfinished, "rwc")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        head, now, wall = self._log()
        migrate(db, epoch, wall)
        db.execute("BEGIN")
        kept = {number: self._emptied_record(number) for number in self.names}
        for row in _readable(self._db, readable_columns(self._db), "message NOT INDEXED", "seq"):
            record = kept.get(row[1])
            message = message_of_row(row, epoch, record.name) if record else None
            if record is not None and message is not None and message.seq > record.floor:
                db.execute(f"INSERT INTO message ({MESSAGE_COLUMNS}) VALUES {_placeholders(13)}", row)
                _add_to_record(record, message)
                head, now = max(head, message.seq), max(now, row[4])
        for record in kept.values():
            db.execute(f"INSERT INTO channel ({RECORD_COLUMNS}) VALUES {_placeholders(17)}", row_of_record(record))
        copy_events(self._db, db)
        write_revocations(db, readable_revocations(self._db), 0)
        # As if the wall clock had just been set back: then no query relies on the order of timestamps.
        db.execute("UPDATE log SET seq = ?, now = ?, turned_back = ?, peak = 1e308", (head, now, head))
        db.execute("COMMIT")
        db.close()
        _fsync(unfinished)
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

    def _emptied_record(self, number: int) -> ChannelRecord:
        known = self.records.get(number)
        if known is None:
            return ChannelRecord(number, self.names[number])
        known.messages = known.bytes = known.cost = known.stale = 0
        return known

    def _log(self) -> tuple[int, float, float]:
        """Return the newest sequence, and the log time and unix seconds of the last commit."""
        with suppress(sqlite3.DatabaseError, TypeError, ValueError):
            seq, now, wall = self._db.execute("SELECT seq, now, wall FROM log").fetchone()
            return int(seq), float(now), float(wall)
        return max((record.used for record in self.records.values()), default=0), 0.0, time.time()


def _readable(db: sqlite3.Connection, columns: str, table: str, key: str) -> Iterator[tuple[Any, ...]]:
    """Yield the readable rows of a table in the order of a key."""
    query = f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key}"
    after = 0
    while after <= _MAX_SEQUENCE:
        try:
            for row in db.execute(query, (after,)):
                after = row[0]
                yield row
            return
        except sqlite3.DatabaseError:
            after = _next_readable(db, query, after)


def _next_readable(db: sqlite3.Connection, query: str, low: int) -> int:
    """Return a key from which rows can be read again: found by growing steps, then by bisection."""
    high = low + 1
    while not _can_read(db, query, high):
        low, high = high, high + 2 * (high - low)
        if high > _MAX_SEQUENCE:
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


def _add_to_record(record: ChannelRecord, message: Message) -> None:
    size = len(message.data)
    names = len(message.content_type) + len(message.event or "") + len((message.sender or "").encode())
    one = record.entry(message.seq, message.time, size, names)
    record.messages += 1
    record.bytes += size
    record.cost += one.cost
    if message.seq >= record.last:
        record.last, record.last_time = message.seq, message.time
    if message.seq > record.used:
        record.used = record.place = message.seq
        record.ended = message.end


def _placeholders(count: int) -> str:
    return f"({', '.join('?' * count)})"


def _fsync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
