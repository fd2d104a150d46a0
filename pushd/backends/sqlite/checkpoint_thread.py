"""The thread that checkpoints the write-ahead log, so that the writer does not have to.

Its checkpoints cannot finish while the writer keeps committing, and only a finished one lets the log be overwritten. So
when the log has grown large, the writer is asked for the small rest of a checkpoint between two commits.
"""

import sqlite3
from collections.abc import Callable
from threading import Event, Thread

from pushd.backends.interface import BackendUnusable

_INTERVAL_SECONDS = 0.5
"""Seconds between two checkpoints."""
_LARGE_WAL_PAGES = 16_000
"""Pages of a large log: 64 MB."""


class CheckpointThread(Thread):
    """Runs from `start` to `finish`."""

    def __init__(
        self,
        db: sqlite3.Connection,
        request_writer: Callable[[], None],
        warn: Callable[[str], None],
        check_files: Callable[[], None] = lambda: None,
    ) -> None:
        """
        :param db: a connection of its own.
        :param request_writer: asks the writer for a checkpoint.
        :param warn: called with the reason for each failure.
        :param check_files: raises BackendUnusable when a checkpoint would damage the file.
        """
        super().__init__(name="pushd-checkpoints", daemon=True)
        self._db = db
        self._request_writer = request_writer
        self._warn = warn
        self._check_files = check_files
        self._is_requested = Event()
        self._is_finishing = Event()

    def request(self) -> None:
        """Request a checkpoint, which is run soon."""
        self._is_requested.set()

    def finish(self) -> None:
        """Stop the thread, and wait until it has stopped."""
        self._is_finishing.set()
        self._is_requested.set()
        self.join()

    def run(self) -> None:
        """Run the requested checkpoints until `finish`."""
        while not self._is_finishing.is_set():
            self._is_requested.wait()
            if self._is_finishing.wait(_INTERVAL_SECONDS):
                break
            # `finish` sets both events. If this clears the second one, the loop still ends because of the first.
            self._is_requested.clear()
            try:
                self._check_files()
                _, pages, done = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except (sqlite3.Error, BackendUnusable) as error:
                self._warn(str(error))
                continue
            if pages > _LARGE_WAL_PAGES and pages > done:
                self._request_writer()
        self._db.close()
