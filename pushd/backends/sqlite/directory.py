"""The directory of a history: its lock, its files, and connections to them."""

import fcntl
import os
import sqlite3
from pathlib import Path

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.schema import version_of

_FILE = "history.sqlite"
_LOCK = "lock"
_VERIFY_MARKER = "suspect"
_PROBE = "probe"
_PROBE_BYTES = 1 << 20
"""Bytes that must be free before publishes are accepted again: the size of the largest message by default."""
_DIRECTORY_MODE = 0o700
_BUSY_SECONDS = 5.0
"""The longest time that a connection waits for another one's lock. Only a checkpoint can hold one for long."""
_WRITER_CACHE_KIB = 16 << 10
_READER_CACHE_KIB = 2 << 10


class Directory:
    """The directory of one history.

    :param path: its path; `acquire` creates it, but not its parent.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.file = self.path / _FILE
        self.verify_marker = self.path / _VERIFY_MARKER
        """A file that exists when damage was found at run time: the next start verifies the whole history."""
        self._lock: int | None = None
        self._inode = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """The database, its write-ahead log and the index of that."""
        return tuple(self.file.with_name(self.file.name + end) for end in ("", "-wal", "-shm"))

    def acquire(self) -> None:
        """Create the directory if it does not exist, and lock it until `release` or the end of the process.

        :raises BackendUnusable: when it cannot be created or read, or another process has locked it.
        """
        try:
            self.path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
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
            pass  # a full disk: the error of a second process then names no process id
        self._lock = lock

    def release(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def size(self) -> int:
        """Return the total size of all files, in bytes."""
        return sum(part.stat().st_size for part in self.files if part.exists())

    def open_writer(self, sync: str, *, create: bool = True) -> sqlite3.Connection:
        """Open the file for writing.

        :param sync: ``full`` or ``normal``.
        :param create: whether to create the file if there is none.
        :raises BackendUnusable: when it belongs to another program, or was written by a newer pushd.
        :raises sqlite3.Error, OSError: when it cannot be opened.
        """
        if create:
            # SQLite creates the other files with the permissions of this one.
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = connect(self.file, "rw")
        try:
            version_of(db)
            # These take effect when the first table is created; later they change nothing.
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL").fetchone()
            db.execute(f"PRAGMA synchronous = {sync.upper()}")
            db.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
            # `checkpoint_thread` runs the checkpoints.
            db.execute("PRAGMA wal_autocheckpoint = 0")
            self._inode = os.stat(self.file).st_ino
        except BaseException:
            db.close()
            raise
        return db

    def open_checkpointer(self) -> sqlite3.Connection:
        """Open the existing file for checkpoints."""
        return connect(self.file, "rw")

    def check_space(self) -> None:
        """Check that the disk can be written and has space.

        :raises OSError: when it cannot, or has not.
        """
        probe = self.path / _PROBE
        try:
            with probe.open("wb") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)

    def check_presence(self) -> None:
        """Check that the file is still the one that was opened for writing.

        :raises BackendUnusable: when it was removed or replaced.
        """
        try:
            is_there = os.stat(self.file).st_ino == self._inode
        except OSError:
            is_there = False
        if not is_there:
            raise BackendUnusable(f"{self.file} was removed or replaced while pushd was running; restart pushd")

    def open_reader(self) -> sqlite3.Connection:
        """Open the existing file for reading."""
        db = connect(self.file, "rw")
        db.execute("PRAGMA query_only = ON")
        db.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
        return db


def connect(file: Path, mode: str) -> sqlite3.Connection:
    """Open a SQLite file in autocommit mode: transactions are begun and ended explicitly.

    :param mode: ``ro``, ``rw``, or ``rwc`` to create it if it is missing.
    """
    # A path may contain characters that have a meaning in a URI.
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    # A connection may pass from one thread to another, but is never used by two at a time.
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
