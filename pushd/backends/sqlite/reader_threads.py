"""The reader threads: each has its own connection to the file, so neither the reactor nor the writer waits for them.

A query that turns out to be long, because its patterns are compared with many channels, is aborted and run again in the
thread for long queries. That thread runs one query at a time and pauses often, so long queries delay each other, but
not short ones. The pauses let the reactor get the interpreter's lock.
"""

import sqlite3
import time
from collections.abc import Callable
from threading import Thread
from typing import Any, Final, Generic, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.history_reader import HistoryReader
from pushd.backends.sqlite.log_snapshot import LogSnapshot
from pushd.core.channel_rules import Retentions

_THREADS: Final = 3
_SHORT_ROWS: Final = 5000
"""The most rows that a short query reads: about ten milliseconds."""
_PAUSE_SECONDS: Final = 0.0005
"""Seconds of each pause. Without pauses the reactor would wait up to five milliseconds for the interpreter's lock."""

T = TypeVar("T")


class QueryResult(NamedTuple, Generic[T]):
    """The result of a query."""

    value: T
    damaged: list[tuple[int, str]]
    """The sequences and channels of damaged messages, which were skipped."""
    head: int
    """The newest sequence of the snapshot, which may not be delivered yet."""


class _DaemonThread(Thread):
    """A thread that does not keep the process alive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class _QueryTooLong(Exception):
    """A query reads more rows than its limit."""


class ReaderThreads:
    """The threads, which run from `start` to `stop`."""

    def __init__(self, directory: Directory, retentions: Retentions, reactor: Any) -> None:
        """
        :param reactor: the reactor in whose thread results are delivered.
        """
        self._directory = directory
        self._retentions = retentions
        self._reactor = reactor
        self._pool = ThreadPool(0, _THREADS, "pushd-readers")
        self._pool.threadFactory = _DaemonThread
        self._long = ThreadPool(0, 1, "pushd-long-reader")
        self._long.threadFactory = _DaemonThread
        self._is_stopped = False
        self._free: list[sqlite3.Connection] = []
        self._in_use: set[sqlite3.Connection] = set()

    def reconfigure(self, retentions: Retentions) -> None:
        """Apply other rules to queries from now on."""
        self._retentions = retentions

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

    def read(self, query: Callable[[HistoryReader], T], now: float) -> "Deferred[QueryResult[T]]":
        """Run a query on a snapshot of the log.

        :param now: seconds of log time.
        :return: a Deferred of the result. It fails with `sqlite3.Error`, `Damaged` or `BackendUnusable` when the file
            cannot be read.
        """
        return Deferred.fromCoroutine(self._read(query, now))

    async def _read(self, query: Callable[[HistoryReader], T], now: float) -> QueryResult[T]:
        for pool, limit in ((self._pool, _SHORT_ROWS), (self._long, None)):
            self._check_running()
            on_rows_read = self._row_counter(limit)
            result = await deferToThreadPool(self._reactor, pool, self._run, query, now, on_rows_read)
            if result is not None:
                break
        assert result is not None
        return result

    def _run(
        self, query: Callable[[HistoryReader], T], now: float, on_rows_read: Callable[[int], None]
    ) -> QueryResult[T] | None:
        """Run a query; return None if it exceeds its limit."""
        self._check_running()
        db = self._free.pop() if self._free else self._directory.open_reader()
        self._in_use.add(db)
        result = None
        try:
            db.execute("BEGIN")
            try:
                snapshot = LogSnapshot(db, self._retentions, now, on_rows_read)
                reader = HistoryReader(snapshot)
                result = QueryResult(query(reader), reader.damaged, snapshot.head)
            except _QueryTooLong:
                pass  # not re-raised: its traceback would keep statements alive, and they the transaction
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        else:
            self._free.append(db)
        finally:
            self._in_use.discard(db)
        return result

    def _row_counter(self, limit: int | None) -> Callable[[int], None]:
        """Return a function for a query to call with the number of rows it has read.

        The function pauses. It raises `_QueryTooLong` beyond `limit`, and an error when the threads are stopped.
        """
        seen = 0

        def on_rows_read(rows: int) -> None:
            nonlocal seen
            seen += rows
            if limit is not None and seen > limit:
                raise _QueryTooLong
            time.sleep(_PAUSE_SECONDS)
            self._check_running()

        return on_rows_read

    def _check_running(self) -> None:
        if self._is_stopped:
            raise sqlite3.OperationalError("interrupted")
