"""The threads that work on one file, from when it is opened until it is closed: one writes, a few read, one runs
checkpoints, and one verifies.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.backends.sqlite.checkpoint_thread import CheckpointThread
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.history_file import close_history, open_history, reopen_history
from pushd.backends.sqlite.history_reader import HistoryReader
from pushd.backends.sqlite.log_time import LogTime
from pushd.backends.sqlite.reader_threads import ReaderThreads
from pushd.backends.sqlite.tail import Tail
from pushd.backends.sqlite.verifier_thread import VerifierThread
from pushd.backends.sqlite.writer import Writer
from pushd.backends.sqlite.writer_requests import LogTotals
from pushd.backends.sqlite.writer_thread import PendingRequest, ResultCallbacks, WriterThread
from pushd.core.history import Bounds

T = TypeVar("T")

_MAX_LOGGED_DAMAGE = 100
"""The most findings of damage that are logged."""


class OpenedLog(NamedTuple):
    """The log in a file that was opened."""

    totals: LogTotals
    tail: Tail
    unavailable_reason: str | None
    """Why nothing can be written now; None when it can."""


class WorkerThreads:
    """All threads, and the directory of the file."""

    log = Logger()

    def __init__(
        self,
        directory: str,
        bounds: Bounds,
        reactor: Any,
        wall: Callable[[], float],
        sync: str,
        callbacks: ResultCallbacks,
    ) -> None:
        """See `SqliteBackend`. `callbacks`: callbacks for results."""
        self._directory = Directory(directory)
        self._bounds = bounds
        self._reactor = reactor
        self._wall = wall
        self._fsync = sync
        self._callbacks = callbacks
        self._readers = ReaderThreads(self._directory, bounds.age, reactor)
        self._time: LogTime
        self._writer_thread: WriterThread
        self._checkpoints: CheckpointThread
        self._verifier: VerifierThread | None = None
        self._checkpoint_warning = ""
        self._known_damage: set[str] = set()

    def open(self) -> OpenedLog:
        """Open the file and start the threads.

        :raises BackendUnusable: when the file cannot be used; the text is a sentence.
        """
        directory = self._directory
        directory.acquire()
        try:
            opened = open_history(directory, self._bounds, self._fsync, self._wall())
            for sentence in opened.warnings:
                self.log.warn("{sentence}", sentence=sentence)
            ready = self._load(opened.writer, opened.unavailable_reason)
            self.log.info(
                "Opened history {file}: {messages} messages in {channels} channels",
                file=str(directory.file),
                messages=ready.totals.messages,
                channels=ready.totals.channels,
            )
        except BaseException:
            directory.release()
            raise
        call = self._reactor.callFromThread
        writer: Writer | None = opened.writer
        if opened.unavailable_reason is not None:
            opened.writer.roll_back()
            writer = None
        self._writer_thread = WriterThread(
            writer, self._reopen, close_history, directory.check_presence, call, self._callbacks
        )
        self._checkpoints = CheckpointThread(
            directory.open_checkpointer(),
            self._writer_thread.request_checkpoint,
            lambda why: call(self._warn_of_checkpoints, why),
        )
        self._readers.start()
        self._writer_thread.start()
        self._checkpoints.start()
        if not opened.is_verified:
            self._verifier = VerifierThread(directory.read(), lambda damage: call(self.report_damage, damage))
            self._verifier.start()
        return ready

    def stop(self) -> None:
        """Finish pending work, close the file, and report `stopped`."""
        if self._verifier is not None:
            self._verifier.finish()
        self._checkpoints.finish()
        self._readers.stop()
        self._writer_thread.finish()

    def release(self) -> None:
        """Release the lock on the directory, once all is closed."""
        self._directory.release()

    # Work

    def now(self) -> float:
        """Return the log time, in seconds."""
        return self._time.now()

    def submit(self, pending: list[PendingRequest]) -> None:
        """Submit jobs to the writing thread."""
        self._writer_thread.submit(pending)

    def read(
        self, query: Callable[[HistoryReader], T], now: float, head: int
    ) -> "Deferred[tuple[T, list[tuple[int, str]]]]":
        """Run a query in a reader thread; see `ReaderThreads`."""
        return self._readers.read(query, now, head)

    def committed(self) -> None:
        """Called when there are new commits."""
        self._checkpoints.request()

    def size(self) -> int:
        """Return the total size of all files, in bytes."""
        return self._directory.size()

    def report_damage(self, damage: Damaged) -> None:
        """Log damage that the start did not find, once, and make the next start verify all of the file."""
        if str(damage) in self._known_damage or len(self._known_damage) >= _MAX_LOGGED_DAMAGE:
            return
        self._known_damage.add(str(damage))
        self.log.error(
            "{file} is damaged: {damage}; restart pushd to recover the intact messages",
            file=str(self._directory.file),
            damage=str(damage),
        )
        with suppress(OSError):
            self._directory.verify_marker.touch()

    def _load(self, writer: Writer, reason: str | None) -> OpenedLog:
        totals = writer.totals
        closed = (name for (name,) in writer.db.execute("SELECT name FROM channel WHERE ended OR deleted"))
        now, wall = writer.db.execute("SELECT now, wall FROM log").fetchone()
        self._time = LogTime(self._reactor.seconds, now, self._wall() - wall)
        return OpenedLog(totals, Tail(totals.epoch, self._bounds.age, totals.head, totals.newest_loss, closed), reason)

    def _reopen(self) -> Writer:
        self._directory.check_space()
        return reopen_history(self._directory, self._bounds, self._fsync)

    def _warn_of_checkpoints(self, why: str) -> None:
        if why != self._checkpoint_warning:
            self._checkpoint_warning = why
            self.log.warn("SQLite checkpoint failed, the write-ahead log keeps growing: {why}", why=why)
