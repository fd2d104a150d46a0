"""The rows of members: those that are there, and those that left in the last day."""

import sqlite3
from collections.abc import Iterable
from typing import Final

from pushd.core.errors import Refusal
from pushd.core.names import check_channel
from pushd.core.presence import Row, check_member_id, check_meta

_COLUMNS: Final = "channel, id, since, meta, lease, last, lag, gone"
_UPSERT: Final = f"INSERT OR REPLACE INTO member ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_DELETE: Final = "DELETE FROM member WHERE channel = ? AND id = ?"


def write_members(db: sqlite3.Connection, rows: Iterable[Row], deleted: Iterable[tuple[str, str]]) -> None:
    """Write the rows of members, and delete those of others by channel and id."""
    db.executemany(_UPSERT, rows)
    db.executemany(_DELETE, deleted)


def replace_members(db: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write the rows of all members, of which the file has others."""
    db.execute("DELETE FROM member")
    db.executemany(_UPSERT, rows)


def read_members(db: sqlite3.Connection) -> list[Row]:
    """Return all intact rows, those of members that left in the order in which they left."""
    rows = (Row(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM member ORDER BY gone, channel, id"))
    return [row for row in rows if _is_intact(row)]


def _is_intact(row: Row) -> bool:
    """Return whether a row has what a member may have: SQLite does not detect damage to values."""
    try:
        check_channel(row.channel)
        check_member_id(row.id)
        if row.meta is not None:
            check_meta(row.meta)
    except Refusal:
        return False
    return True
