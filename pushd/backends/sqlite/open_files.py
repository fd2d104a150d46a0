"""The files that SQLite has open, and whether they are still in place.

SQLite keeps writing to a file that was removed, and the next process does not find what was written. It does not notice
either that its write-ahead log was truncated. So the files are compared before and after each commit: a commit is only
acknowledged if the next process can read it. That takes some microseconds.
"""

import os
from pathlib import Path
from typing import Final

from pushd.backends.interface import BackendUnusable

_WAL_MAGICS: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""The first bytes of a write-ahead log (https://sqlite.org/fileformat2.html, section 4.1)."""


class OpenFiles:
    """The database, its write-ahead log and the index of that, as they are when this is created.

    :param paths: their paths, in this order.
    :raises OSError: when one does not exist.
    """

    def __init__(self, paths: tuple[Path, Path, Path]) -> None:
        self._inodes = {str(path): _identity(os.stat(path)) for path in paths}
        self._log_path = str(paths[1])
        # Closing a descriptor of the log releases no lock of SQLite: those are on the other two files.
        self._log = os.open(self._log_path, os.O_RDONLY | os.O_CLOEXEC)
        self._log_size = os.fstat(self._log).st_size

    def check(self) -> None:
        """Check that no file was removed, replaced or truncated since the last call.

        :raises BackendUnusable: when one was.
        """
        for path, inode in self._inodes.items():
            try:
                status = os.stat(path)
            except OSError as error:
                raise BackendUnusable(_sentence(path, "removed")) from error
            if _identity(status) != inode:
                raise BackendUnusable(_sentence(path, "replaced"))
            if not status.st_size and path != self._log_path:
                raise BackendUnusable(_sentence(path, "truncated"))
        if self._log_path in self._inodes:
            self._check_log()

    def expect_removal_of_log(self) -> None:
        """From now on check the database only: SQLite removes the other files with its last connection."""
        database = next(iter(self._inodes))
        self._inodes = {database: self._inodes[database]}

    def close(self) -> None:
        """Close the descriptor of the log."""
        os.close(self._log)

    def _check_log(self) -> None:
        """Check that the log has not shrunk, which SQLite never does to it while it is open."""
        size = os.fstat(self._log).st_size
        if size < self._log_size or (size and os.pread(self._log, 4, 0) not in _WAL_MAGICS):
            raise BackendUnusable(_sentence(self._log_path, "truncated"))
        self._log_size = size


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _sentence(path: str, fate: str) -> str:
    return f"{path} was {fate} while pushd was running; restart pushd"
