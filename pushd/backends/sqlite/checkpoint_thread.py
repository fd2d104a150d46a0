"""The thread that checkpoints the write-ahead log, so that the writer does not have to stop for it.

It cannot restart the write-ahead log while the writer goes on. So where the log has grown large all the same it asks
the writer to do the last piece, which is a small one by then.
"""

import sqlite3
from collections.abc import Callable
from threading import Event, Thread

_INTERVAL_SECONDS = 0.5
_LARGE_WAL_PAGES = 16_000
"""64 MB."""


class CheckpointThread(Thread):
    """The thread, which works from `start` to `finish`."""

    def __init__(self, db: sqlite3.Connection, request_writer: Callable[[], None], warn: Callable[[str], None]) -> None:
        """
        :param db: a connection of its own.
        :param complain: called with the reason for each failure.
        """
        super().__init__(name="pushd-checkpoints", daemon=True)
        self._db = db
        self._request_writer = request_writer
        self._warn = warn
        self._is_requested = Event()
        self._is_finishing = Event()

    def request(self) -> None:
        """Called when there are new commits."""
        self._is_requested.set()

    def finish(self) -> None:
        """Stop, and wait until that is done."""
        self._is_finishing.set()
        self._is_requested.set()
        self.join()

    def run(self) -> None:
        """Run checkpoints until `finish`."""
        while not self._is_finishing.is_set():
            self._is_requested.wait()
            if self._is_finishing.wait(_INTERVAL_SECONDS):
                break
            # `finish` sets both events; if this clears the second one, the condition of the loop still sees the first.
            self._is_requested.clear()
            try:
                _, pages, done = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as error:
                self._warn(str(error))
                continue
            if pages > _LARGE_WAL_PAGES and pages > done:
                self._request_writer()
        self._db.close()
