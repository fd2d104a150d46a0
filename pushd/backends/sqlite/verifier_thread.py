"""The thread that slowly verifies the file when the start had no time to verify all of it."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.verification import verify

_PAUSE_SECONDS = 0.03
"""Seconds between two pieces of some milliseconds: about a tenth of one processor."""


class _Finished(Exception):
    """The verification was stopped."""


class VerifierThread(Thread):
    """The thread. It runs from `start` until everything is verified, or until `finish`."""

    def __init__(self, db: sqlite3.Connection, found: Callable[[Damaged], None]) -> None:
        """
        :param db: a connection of its own.
        :param found: called with damage.
        """
        super().__init__(name="pushd-watching", daemon=True)
        self._db = db
        self._found = found
        self._is_finishing = Event()

    def finish(self) -> None:
        """Stop the thread, and wait until it has stopped."""
        self._is_finishing.set()
        with suppress(sqlite3.ProgrammingError):  # it has finished, and has closed the connection
            self._db.interrupt()
        self.join()

    def run(self) -> None:
        """Verify the file."""
        try:
            verify(self._db, pause=self._pause)
        except Damaged as damage:
            if not self._is_finishing.is_set():
                self._found(damage)
        except (sqlite3.Error, _Finished):
            pass  # the disk fails: the reader and writer threads report it
        finally:
            self._db.close()

    def _pause(self) -> None:
        if self._is_finishing.wait(_PAUSE_SECONDS):
            raise _Finished
