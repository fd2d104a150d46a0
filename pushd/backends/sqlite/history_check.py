"""The check of a history by `twistd pushd --check`. It is read-only, and a daemon may have the history open."""

import os
import sqlite3
from contextlib import closing

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.commit_mark import Position
from pushd.backends.sqlite.directory import Directory, connect
from pushd.backends.sqlite.errors import corruption_as_damaged
from pushd.backends.sqlite.history_file import errors_as_unusable, missing_commits
from pushd.backends.sqlite.schema import VERSION, check_tables, version_of
from pushd.backends.sqlite.verification import verify


def check_history(path: str) -> str:
    """Verify the whole history in a directory; return a one-line summary.

    :param path: the path of the directory.
    :raises BackendUnusable: when it is damaged or unusable; the text is a sentence.
    """
    directory = Directory(path)
    if not directory.path.exists() and directory.path.parent.is_dir():
        return f"no history yet: {directory.path} will be created"
    if not os.access(directory.path, os.R_OK | os.W_OK | os.X_OK) or not directory.path.is_dir():
        raise BackendUnusable(f"{directory.path} is not a readable and writable directory")
    if not directory.file.exists():
        return f"no history in {directory.path} yet"
    marked = directory.mark.read()  # before the history, which may grow meanwhile
    with errors_as_unusable(directory), closing(connect(directory.file, "ro")) as db:
        version = version_of(db)
        if not version:
            return f"no history in {directory.file} yet"
        with corruption_as_damaged():
            check_tables(db, version)
            verify(db)
        messages, channels = db.execute("SELECT total(messages), count(*) FROM channel WHERE NOT deleted").fetchone()
        content = f"{int(messages)} messages in {channels} channels, {directory.size()} bytes"
        missing = missing_commits(directory, marked, _position(db)) if version == VERSION else None
        if missing is not None:
            return f"{missing}; the next start begins a new epoch ({content})"
        older = f", version {version}, upgraded to {VERSION} at the next start" if version < VERSION else ""
        return f"the history is intact ({directory.file}: {content}{older})"


def _position(db: sqlite3.Connection) -> Position:
    return Position(*db.execute("SELECT epoch, seq, now FROM log").fetchone())
