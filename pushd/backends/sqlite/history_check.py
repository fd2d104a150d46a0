"""The check of a history by `twistd pushd --check`. It is read-only, and a daemon may have the history open."""

import os
from contextlib import closing

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.directory import Directory, connect
from pushd.backends.sqlite.errors import corruption_as_damaged
from pushd.backends.sqlite.history_file import errors_as_unusable
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
    with errors_as_unusable(directory), closing(connect(directory.file, "ro")) as db:
        version = version_of(db)
        if not version:
            return f"no history in {directory.file} yet"
        with corruption_as_damaged():
            check_tables(db, version)
            verify(db)
        messages, channels = db.execute("SELECT total(messages), count(*) FROM channel WHERE NOT deleted").fetchone()
        content = f"{int(messages)} messages in {channels} channels, {directory.size()} bytes"
        older = f", version {version}, upgraded to {VERSION} at the next start" if version < VERSION else ""
        return f"the history is intact ({directory.file}: {content}{older})"
