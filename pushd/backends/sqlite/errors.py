"""Errors of a history file, and how they are worded for the operator."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pushd.backends.interface import BackendUnusable

_PHRASES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the disk is read-only",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk reported an I/O error",
}
_PRIMARY = 0xFF
"""The bits of SQLite's primary result code in an extended one."""


class Damaged(Exception):
    """The file is damaged. The text says what was found, without a period."""

    copy: Path | None = None
    """The copy of the damaged file, once there is one."""


def is_undecodable(error: sqlite3.DatabaseError) -> bool:
    """Return whether an error means that a row has text that is not UTF-8. Errors of SQLite itself have a code."""
    return isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", None) is None


@contextmanager
def corruption_as_damaged() -> Iterator[None]:
    """Turn the errors that a corrupt file causes into `Damaged`."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & _PRIMARY == sqlite3.SQLITE_CORRUPT:
            raise Damaged(str(error)) from error
        if is_undecodable(error):
            raise Damaged("it contains text that is not UTF-8") from error
        raise
    except UnicodeDecodeError as error:  # in an error message of SQLite, which quotes the file
        raise Damaged("its structure is unreadable") from error


def reason_for(error: Exception) -> str:
    """Return the reason for a failure, worded for the operator."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
        return _PHRASES.get(code, str(error))
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, Damaged):
        return f"the file is damaged: {error}"
    return str(error) if isinstance(error, BackendUnusable) else f"an internal error occurred: {error!r}"
