"""The rows of revocations."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from pushd.core.revocations import KINDS, Revocation

_COLUMNS: Final = "kind, value, issued_before, until, created, reason"
_UPSERT: Final = f"""INSERT INTO revocation ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (kind, value) DO UPDATE SET issued_before = max(issued_before, excluded.issued_before),
    until = max(until, excluded.until),
    created = excluded.created, reason = excluded.reason"""


def write_revocations(db: sqlite3.Connection, revocations: Iterable[Revocation], time: float) -> None:
    """Write revocations, each merged with the row of its key, and delete those that have expired.

    :param time: unix seconds.
    """
    db.executemany(_UPSERT, revocations)
    db.execute("DELETE FROM revocation WHERE until <= ?", (time,))


def read_revocations(db: sqlite3.Connection) -> list[Revocation]:
    """Return all revocations."""
    return [Revocation(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM revocation")]


def readable_revocations(db: sqlite3.Connection) -> Iterator[Revocation]:
    """Yield the revocations of a damaged file that can be read, some of them twice."""
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            for row in db.execute(f"SELECT {_COLUMNS} FROM revocation ORDER BY kind {order}, value {order}"):
                if row[0] in KINDS and tuple(map(type, row[1:])) == (str, int, int, int, str):
                    yield Revocation(*row)
