"""The directory of a history: its lock, its files, and connections to them."""

import fcntl
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from threading import Lock

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.commit_mark import CommitMark
from pushd.backends.sqlite.open_files import OpenFiles
from pushd.backends.sqlite.schema import version_of

_FILE = "history.sqlite"
_LOCK = "lock"
_MARK = "newest"
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
        self.mark = CommitMark(self.path / _MARK)
        """The newest commit that was acknowledged."""
        self._locks: list[int] = []
        self._open_files: OpenFiles | None = None
        self._one_at_a_time = Lock()
        self._fault: str | None = None
        """What happened to the files while they were open."""

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """The database, its write-ahead log and the index of that."""
        name = self.file.name
        return self.file, self.file.with_name(f"{name}-wal"), self.file.with_name(f"{name}-shm")

    def acquire(self) -> None:
        """Create the directory if it does not exist, and lock it until `release` or the end of the process.

        The directory itself is locked, since a file in it could be removed. The file named ``lock`` has the process id
        of the holder.

        :raises BackendUnusable: when it cannot be created or read, or another process has locked it.
        """
        try:
            self.path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
            self._locks.append(os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            self._locks.append(os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            self.release()
            raise BackendUnusable(f"{self.path}: {error.strerror}") from error
        holder_file = self._locks[-1]
        try:
            for lock in self._locks:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(holder_file, 20).decode("ascii", "replace").strip()
            self.release()
            process = f" (process {holder})" if holder else ""
            raise BackendUnusable(f"{self.path} is in use by another pushd{process}") from error
        with suppress(OSError):  # a full disk: the error of a second process then names no process id
            os.ftruncate(holder_file, 0)
            os.write(holder_file, b"%d\n" % os.getpid())

    def release(self) -> None:
        """Release the lock, and close the files that are not SQLite's."""
        self.mark.close()
        self._close_open_files()
        for lock in self._locks:
            os.close(lock)
        self._locks.clear()

    def _close_open_files(self) -> None:
        if self._open_files is not None:
            self._open_files.close()
            self._open_files = None

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
            # Only other programs truncate the write-ahead log.
            db.execute("PRAGMA journal_size_limit = -1").fetchone()
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

    def watch_files(self) -> None:
        """Remember the files as they are, opened for writing, for `check_files`.

        :raises OSError: when one does not exist.
        """
        with self._one_at_a_time:
            self._close_open_files()
            self._open_files = OpenFiles(self.files)

    def before_close(self) -> None:
        """Check the files for the last time before SQLite closes and perhaps removes some of them.

        :raises BackendUnusable: see `check_files`.
        """
        self.check_files()
        with self._one_at_a_time:
            if self._open_files is not None:
                self._open_files.expect_removal_of_log()

    def check_files(self) -> None:
        """Check that the files are still in place. If not, the history is unusable until a restart, which verifies it
        and begins a new epoch. May be called from any thread.

        :raises BackendUnusable: when one was removed, replaced or truncated.
        """
        with self._one_at_a_time:
            if self._fault is None and self._open_files is not None:
                try:
                    self._open_files.check()
                except BackendUnusable as error:
                    self._fault = str(error)
                    self.mark.expire()
                    with suppress(OSError):
                        self.verify_marker.touch()
        if self._fault is not None:
            raise BackendUnusable(self._fault)

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
