"""The threads that read, each with a connection of its own: neither the reactor nor the writer waits for them.

A request that turns out to be long, since its patterns have to be compared with many channels, is broken off, and a
thread kept for such requests answers it from the start, one after the other, in small pieces with pauses. So long
requests delay each other, but neither the short ones nor, by holding the interpreter's lock, the reactor.
"""

import sqlite3
import time
from collections.abc import Callable
from threading import Thread
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from pushd.backends.sqlite.answers import Answers
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.view import View

_THREADS: Final = 3
_SHORT_ROWS: Final = 5000
"""Rows that a request may look at before it counts as long: about ten milliseconds."""
_PAUSE_SECONDS: Final = 0.0005
"""Between two pieces of a request, so that the reactor can have the interpreter: it would wait up to five milliseconds
for a thread that never rests."""

T = TypeVar("T")


class _Thread(Thread):
    """A daemon thread: the end of the process may end it at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class _TooLong(Exception):
    """A request looks at more rows than a short one may."""


class Readers:
    """The threads, which work from `start` to `stop`."""

    def __init__(self, directory: Directory, age: float, reactor: Any) -> None:
        """
        :param age: how long messages are kept.
        :param reactor: receives the answers.
        """
        self._directory = directory
        self._age = age
        self._reactor = reactor
        self._pool = ThreadPool(0, _THREADS, "pushd-readers")
        self._pool.threadFactory = _Thread
        self._long = ThreadPool(0, 1, "pushd-long-reader")
        self._long.threadFactory = _Thread
        self._is_stopped = False
        self._free: list[sqlite3.Connection] = []
        self._busy: set[sqlite3.Connection] = set()

    def start(self) -> None:
        """Start the threads."""
        self._pool.start()
        self._long.start()

    def stop(self) -> None:
        """Interrupt running requests and close."""
        self._is_stopped = True
        for db in list(self._busy):
            db.interrupt()
        self._pool.stop()
        self._long.stop()
        for db in self._free:
            db.close()
        self._free.clear()

    def ask(
        self, question: Callable[[Answers], T], now: float, head: int
    ) -> "Deferred[tuple[T, list[tuple[int, str]]]]":
        """Answer a question about the current log; return the answer and the damaged messages found.

        :param now: by the log's own time.
        :param head: the newest sequence that was delivered.
        """
        return Deferred.fromCoroutine(self._answer(question, now, head))

    async def _answer(self, question: Callable[[Answers], T], now: float, head: int) -> tuple[T, list[tuple[int, str]]]:
        for pool, most in ((self._pool, _SHORT_ROWS), (self._long, None)):
            self._check()
            spend = self._allowance(most)
            answer = await deferToThreadPool(self._reactor, pool, self._ask, question, now, head, spend)
            if answer is not None:
                break
        assert answer is not None
        return answer

    def _ask(
        self, question: Callable[[Answers], T], now: float, head: int, spend: Callable[[int], None]
    ) -> tuple[T, list[tuple[int, str]]] | None:
        """Answer a question; None where that takes too long."""
        self._check()
        db = self._free.pop() if self._free else self._directory.read()
        self._busy.add(db)
        result = None
        try:
            db.execute("BEGIN")
            try:
                answers = Answers(View(db, self._age, now, head, spend))
                result = question(answers), answers.damaged
            except _TooLong:
                pass  # not raised further: its traceback refers to statements, and they to the transaction
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        else:
            self._free.append(db)
        finally:
            self._busy.discard(db)
        return result

    def _allowance(self, most: int | None) -> Callable[[int], None]:
        """Return what a request calls while it looks at rows, of which it may see at most so many."""
        seen = 0

        def spend(rows: int) -> None:
            nonlocal seen
            seen += rows
            if most is not None and seen > most:
                raise _TooLong
            time.sleep(_PAUSE_SECONDS)
            self._check()

        return spend

    def _check(self) -> None:
        if self._is_stopped:
            raise sqlite3.OperationalError("interrupted")
