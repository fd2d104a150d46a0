"""The thread that checkpoints the write-ahead log, so that the writer does not have to stop for it.

It cannot restart the write-ahead log while the writer goes on. So where the log has grown large all the same it asks
the writer to do the last piece, which is a small one by then.
"""

import sqlite3
from collections.abc import Callable
from threading import Event, Thread

_SECONDS = 0.5
_LARGE_PAGES = 16_000
"""64 MB."""


class CheckpointThread(Thread):
    """The thread. It runs from `start` to `finish`."""

    def __init__(self, db: sqlite3.Connection, ask_writer: Callable[[], None], warn: Callable[[str], None]) -> None:
        """
        :param db: a connection of its own.
        :param complain: called with the reason for each failure.
        """
        super().__init__(name="pushd-checkpoints", daemon=True)
        self._db = db
        self._ask_writer = ask_writer
        self._complain = warn
        self._is_wanted = Event()
        self._is_finishing = Event()

    def want(self) -> None:
        """Called when there are new commits."""
        self._is_wanted.set()

    def finish(self) -> None:
        """Stop the thread, and wait until it has stopped."""
        self._is_finishing.set()
        self._is_wanted.set()
        self.join()

    def run(self) -> None:
        """Run checkpoints until `finish`."""
        while not self._is_finishing.is_set():
            self._is_wanted.wait()
            if self._is_finishing.wait(_SECONDS):
                break
            # `finish` sets both events; if this clears the second one, the condition of the loop still sees the first.
            self._is_wanted.clear()
            try:
                _, pages, done = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as error:
                self._complain(str(error))
                continue
            if pages > _LARGE_PAGES and pages > done:
                self._ask_writer()
        self._db.close()
