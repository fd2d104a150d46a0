"""Verification of a file: SQLite checks its structure, and the checksum of each row is compared.

A large file takes seconds to verify. So a start verifies the newest messages for a fraction of a second, and
`verifier_thread` verifies the whole file afterwards.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from pushd.backends.sqlite.errors import Damaged, corruption_as_damaged
from pushd.backends.sqlite.rows import RECORD_COLUMNS, message_of_row, readable_columns, record_of_row

_VM_STEPS = 10_000
"""Instructions of SQLite's virtual machine between two checks of the time: well below a millisecond."""
_BATCH = 500
"""Messages that are read at a time."""


def verify(db: sqlite3.Connection, seconds: float = inf, pause: Callable[[], None] = lambda: None) -> bool:
    """Verify a file for at most `seconds`; return whether all of it was verified.

    :param pause: called between batches of messages. It may raise an exception to abort.
    :raises Damaged: when the file is damaged.
    """
    until = time.monotonic() + seconds
    with corruption_as_damaged():
        return _verify_structure(db, (until + time.monotonic()) / 2) & _verify_checksums(db, until, pause)


def _verify_structure(db: sqlite3.Connection, until: float) -> bool:
    db.set_progress_handler(lambda: time.monotonic() > until, _VM_STEPS)
    try:
        (word,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            return False
        raise
    finally:
        db.set_progress_handler(None, 0)
    if word != "ok":
        raise Damaged(" ".join(word.split()))
    return True


def _verify_checksums(db: sqlite3.Connection, until: float, pause: Callable[[], None]) -> bool:
    for row in db.execute(f"SELECT {RECORD_COLUMNS} FROM channel"):
        if record_of_row(row) is None:
            raise Damaged("the checksum of a channel does not match")
    for batch in _batches(db):
        for *row, name in batch:
            if message_of_row(tuple(row), "", name) is None:
                raise Damaged(f"message {row[0]} fails its checksum")
        if time.monotonic() > until:
            return False
        pause()
    return True


def _batches(db: sqlite3.Connection) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of all messages with the names of their channels, the newest first.

    No read transaction is open between two batches.
    """
    before = 1 << 62
    name = "(SELECT name FROM channel WHERE id = message.channel)"
    query = f"SELECT {readable_columns(db)}, {name} FROM message WHERE seq < ? ORDER BY seq DESC LIMIT {_BATCH}"
    while batch := db.execute(query, (before,)).fetchall():
        yield batch
        before = batch[-1][0]
