"""The threads that read, each with a connection of its own: neither the reactor nor the writer waits for them."""

import sqlite3
from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from pushd.backends.sqlite.answers import Answers
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.view import View

_THREADS = 4

T = TypeVar("T")


class _Thread(Thread):
    """A thread that whatever ends the process may end at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class Readers:
    """The threads, which work from `start` to `stop`."""

    def __init__(self, directory: Directory, age: float, reactor: Any) -> None:
        """
        :param age: how long messages are kept.
        :param reactor: is told of what was read.
        """
        self._directory = directory
        self._age = age
        self._reactor = reactor
        self._pool = ThreadPool(0, _THREADS, "pushd-readers")
        self._pool.threadFactory = _Thread
        self._free: list[sqlite3.Connection] = []
        self._busy: set[sqlite3.Connection] = set()

    def start(self) -> None:
        """Be ready."""
        self._pool.start()

    def stop(self) -> None:
        """Break off what is being read, and close."""
        for db in list(self._busy):
            db.interrupt()
        self._pool.stop()
        for db in self._free:
            db.close()
        self._free.clear()

    def ask(
        self, question: Callable[[Answers], T], now: float, head: int
    ) -> "Deferred[tuple[T, list[tuple[int, str]]]]":
        """Ask something of the log as it is now; give the answer, and the damaged messages that were met.

        :param now: by the log's own time.
        :param head: the newest sequence that was told.
        """
        return deferToThreadPool(self._reactor, self._pool, self._ask, question, now, head)

    def _ask(self, question: Callable[[Answers], T], now: float, head: int) -> tuple[T, list[tuple[int, str]]]:
        db = self._free.pop() if self._free else self._directory.read()
        self._busy.add(db)
        try:
            db.execute("BEGIN")
            answers = Answers(View(db, self._age, now, head))
            answer = question(answers)
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        else:
            self._free.append(db)
        finally:
            self._busy.discard(db)
        return answer, answers.damaged
