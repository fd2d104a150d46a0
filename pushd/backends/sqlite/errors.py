"""What can be wrong with a history."""

import sqlite3

from pushd.backends.interface import Unusable

_PHRASES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the disk is read-only",
    sqlite3.SQLITE_CANTOPEN: "the file can not be opened",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
}
_PRIMARY = 0xFF
"""The byte of a code of SQLite that says what it is; the others say where."""


class Damaged(Exception):
    """The file is not whole. The text is a phrase."""


def phrase(error: Exception) -> str:
    """Say for the operator why something can not be done."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
        return _PHRASES.get(code, str(error))
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, Damaged):
        return f"the file is damaged: {error}"
    return str(error) if isinstance(error, Unusable) else f"something broke here: {error!r}"
