"""The directory of a history: its lock, its files, and connections to them."""

import fcntl
import os
import sqlite3
from pathlib import Path

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.schema import version_of

_FILE = "history.sqlite"
_LOCK = "lock"
_SUSPECT = "suspect"
_PROBE = "probe"
_ROOM = 1 << 20
"""Bytes that must be free before publishes are accepted again: a message of the largest size by default."""
_PRIVATE = 0o700
_BUSY_SECONDS = 5.0
"""The lock timeout of connections: at most a checkpoint is waited for, since there is one writer."""
_WRITER_CACHE_KIB = 16 << 10
_READER_CACHE_KIB = 2 << 10


class Directory:
    """The directory of one history.

    :raises BackendUnusable: it cannot be created, read or written.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.file = self.path / _FILE
        self.suspect = self.path / _SUSPECT
        """Marker that damage was found at run time: the next start verifies all of the file."""
        self._lock: int | None = None
        self._inode = 0

    @property
    def parts(self) -> tuple[Path, ...]:
        """The files of the history."""
        return tuple(self.file.with_name(self.file.name + end) for end in ("", "-wal", "-shm"))

    def acquire(self) -> None:
        """Lock the directory until the process ends or `release`.

        :raises BackendUnusable: another process has locked it.
        """
        try:
            self.path.mkdir(mode=_PRIVATE, exist_ok=True)
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BackendUnusable(f"{self.path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(lock, 20).decode("ascii", "replace").strip()
            os.close(lock)
            process = f" (process {holder})" if holder else ""
            raise BackendUnusable(f"{self.path} is in use by another pushd{process}") from error
        try:
            os.ftruncate(lock, 0)
            os.write(lock, b"%d\n" % os.getpid())
        except OSError:
            pass  # A full disk: then the sentence above names no process.
        self._lock = lock

    def release(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def size(self) -> int:
        """Return the total size of all files, in bytes."""
        return sum(part.stat().st_size for part in self.parts if part.exists())

    def write(self, sync: str, *, create: bool = True) -> sqlite3.Connection:
        """Open the file for writing; create it if there is none.

        :param sync: ``full`` or ``normal``.
        :raises BackendUnusable: it belongs to another program.
        """
        if create:
            # SQLite gives what it makes beside the file the same rights.
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = connect(self.file, "rw")
        try:
            version_of(db)
            # These hold from the first table on. Where there are tables already, they change nothing.
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL").fetchone()
            db.execute(f"PRAGMA synchronous = {sync.upper()}")
            db.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
            # `checkpoints` makes them, beside the writer.
            db.execute("PRAGMA wal_autocheckpoint = 0")
            self._inode = os.stat(self.file).st_ino
        except BaseException:
            db.close()
            raise
        return db

    def tend(self) -> sqlite3.Connection:
        """Open the existing file for checkpoints."""
        return connect(self.file, "rw")

    def try_space(self) -> None:
        """Check that the disk has space to write.

        :raises OSError: there is not.
        """
        probe = self.path / _PROBE
        try:
            with probe.open("wb") as file:
                file.write(bytes(_ROOM))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)

    def check_presence(self) -> None:
        """Check that the file is still the one that was opened.

        :raises BackendUnusable: it is not.
        """
        try:
            is_there = os.stat(self.file).st_ino == self._inode
        except OSError:
            is_there = False
        if not is_there:
            raise BackendUnusable(f"{self.file} was removed or replaced while pushd was running; restart pushd")

    def read(self) -> sqlite3.Connection:
        """Open the existing file for reading."""
        db = connect(self.file, "rw")
        db.execute("PRAGMA query_only = ON")
        db.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
        return db


def connect(file: Path, mode: str) -> sqlite3.Connection:
    """Open a file of SQLite. Transactions are begun and ended explicitly.

    :param mode: ``ro``, ``rw``, or ``rwc`` to create it if it is missing.
    """
    # A path may contain characters that are special in a URI.
    address = f"{file.absolute().as_uri()}?mode={mode}"
    # A connection moves between threads, and is never used by two at a time.
    return sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
