"""What can be wrong with a history."""

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
"""The byte of a code of SQLite that says what it is; the others say where."""


class Damaged(Exception):
    """The file is not whole. The text is a phrase."""

    copy: Path | None = None
    """Where the file was copied to as it was found."""


@contextmanager
def damage_found() -> Iterator[None]:
    """Turn what SQLite says of a file that is not whole into `Damaged`."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & _PRIMARY == sqlite3.SQLITE_CORRUPT:
            raise Damaged(str(error)) from error
        raise
    except UnicodeDecodeError as error:  # SQLite quotes what it does not understand
        raise Damaged("its structure is unreadable") from error


def phrase(error: Exception) -> str:
    """Say for the operator why something can not be done."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
        return _PHRASES.get(code, str(error))
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, Damaged):
        return f"the file is damaged: {error}"
    return str(error) if isinstance(error, BackendUnusable) else f"an internal error occurred: {error!r}"
