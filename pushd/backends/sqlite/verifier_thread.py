"""The thread that verifies the file in the background, when it was too large for the start to verify all of it."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.verification import verify

_PAUSE_SECONDS = 0.03
"""Seconds between two batches, which take some milliseconds each: the thread uses about a tenth of a core."""


class _Finished(Exception):
    """The verification was stopped."""


class VerifierThread(Thread):
    """Runs from `start` until the whole file is verified, or until `finish`."""

    def __init__(self, db: sqlite3.Connection, found: Callable[[Damaged], None]) -> None:
        """
        :param db: a connection of its own.
        :param found: called in this thread when the file is damaged.
        """
        super().__init__(name="pushd-verifier", daemon=True)
        self._db = db
        self._found = found
        self._is_finishing = Event()

    def finish(self) -> None:
        """Stop the thread, and wait until it has stopped."""
        self._is_finishing.set()
        with suppress(sqlite3.ProgrammingError):  # the thread has closed the connection
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
            pass  # stopped, or a failing disk, which the other threads report
        finally:
            self._db.close()

    def _pause(self) -> None:
        if self._is_finishing.wait(_PAUSE_SECONDS):
            raise _Finished
