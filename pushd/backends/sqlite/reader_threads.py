"""The reader threads, each with its own connection to the file: neither the reactor nor the writer waits for them.

A query that turns out to be long, because its patterns match against many channels, is aborted and run again by a
thread for long queries, one after the other, in small pieces with pauses. So long queries delay each other, but neither
short ones nor, by holding the lock of the interpreter, the reactor.
"""

import sqlite3
import time
from collections.abc import Callable
from threading import Thread
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.history_reader import HistoryReader
from pushd.backends.sqlite.log_snapshot import LogSnapshot

_THREADS: Final = 3
_SHORT_ROWS: Final = 5000
"""Rows that a query may read before it counts as long: about ten milliseconds."""
_PAUSE_SECONDS: Final = 0.0005
"""Seconds between two pieces of a query, in which the reactor can get the lock of the interpreter: it would wait up to
five milliseconds for a thread without pauses."""

T = TypeVar("T")


class _DaemonThread(Thread):
    """A daemon thread: the end of the process may end it at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class _QueryTooLong(Exception):
    """A query reads more rows than a short one may."""


class ReaderThreads:
    """The threads. They run from `start` to `stop`."""

    def __init__(self, directory: Directory, age: float, reactor: Any) -> None:
        """
        :param age: the retention of messages, in seconds.
        :param reactor: in which results are delivered.
        """
        self._directory = directory
        self._age = age
        self._reactor = reactor
        self._pool = ThreadPool(0, _THREADS, "pushd-readers")
        self._pool.threadFactory = _DaemonThread
        self._long = ThreadPool(0, 1, "pushd-long-reader")
        self._long.threadFactory = _DaemonThread
        self._is_stopped = False
        self._free: list[sqlite3.Connection] = []
        self._in_use: set[sqlite3.Connection] = set()

    def start(self) -> None:
        """Start the threads."""
        self._pool.start()
        self._long.start()

    def stop(self) -> None:
        """Interrupt running queries, stop the threads and close the connections."""
        self._is_stopped = True
        for db in list(self._in_use):
            db.interrupt()
        self._pool.stop()
        self._long.stop()
        for db in self._free:
            db.close()
        self._free.clear()

    def read(
        self, query: Callable[[HistoryReader], T], now: float, head: int
    ) -> "Deferred[tuple[T, list[tuple[int, str]]]]":
        """Run a query on the current log; return its result and the damaged messages found.

        :param now: seconds of log time.
        :param head: the newest sequence that was delivered.
        """
        return Deferred.fromCoroutine(self._read(query, now, head))

    async def _read(
        self, query: Callable[[HistoryReader], T], now: float, head: int
    ) -> tuple[T, list[tuple[int, str]]]:
        for pool, most in ((self._pool, _SHORT_ROWS), (self._long, None)):
            self._check_running()
            on_rows_read = self._row_counter(most)
            answer = await deferToThreadPool(self._reactor, pool, self._run, query, now, head, on_rows_read)
            if answer is not None:
                break
        assert answer is not None
        return answer

    def _run(
        self, query: Callable[[HistoryReader], T], now: float, head: int, on_rows_read: Callable[[int], None]
    ) -> tuple[T, list[tuple[int, str]]] | None:
        """Run a query; return None when it is too long."""
        self._check_running()
        db = self._free.pop() if self._free else self._directory.read()
        self._in_use.add(db)
        result = None
        try:
            db.execute("BEGIN")
            try:
                answers = HistoryReader(LogSnapshot(db, self._age, now, head, on_rows_read))
                result = query(answers), answers.damaged
            except _QueryTooLong:
                pass  # not raised further: its traceback refers to statements, and they to the transaction
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        else:
            self._free.append(db)
        finally:
            self._in_use.discard(db)
        return result

    def _row_counter(self, most: int | None) -> Callable[[int], None]:
        """Return the function that a query calls with the number of rows it has read; it raises beyond `most`."""
        seen = 0

        def on_rows_read(rows: int) -> None:
            nonlocal seen
            seen += rows
            if most is not None and seen > most:
                raise _QueryTooLong
            time.sleep(_PAUSE_SECONDS)
            self._check_running()

        return on_rows_read

    def _check_running(self) -> None:
        if self._is_stopped:
            raise sqlite3.OperationalError("interrupted")
